"""Who descends from whom: pure folds over the rounds of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.records import Round


def starter(rounds: Sequence[Round]) -> Round | None:
    """The round in which the starter was accepted."""
    return facts_of(rounds).starter


def incumbent(rounds: Sequence[Round]) -> Round | None:
    """The round that holds the best code so far: of all that was kept the largest gain over the starter."""
    best = facts_of(rounds).best
    return rounds[best[1]] if best else None


def log_gains(rounds: Sequence[Round]) -> Mapping[int, float]:
    """Round to the logarithm of its gain over the starter: the starter and all work that the gate found correct."""
    return facts_of(rounds).log_gains


def on_base(rounds: Sequence[Round], base: int) -> Sequence[Round]:
    """The rounds of work that are measured against one round's code."""
    return facts_of(rounds).on_base.get(base, ())


def chain(rounds: Sequence[Round], last: Round) -> tuple[Round, ...]:
    """A round and its ancestors, the starter first."""
    line = [last]
    while line[-1].task.kind != "starter":
        line.append(rounds[line[-1].task.base])
    return tuple(reversed(line))


def applied(rounds: Sequence[Round], last: Round) -> frozenset[str]:
    """The techniques in a round's code, those of refused code that it mended included."""
    found: set[str] = set()
    for record in chain(rounds, last):
        mended: Round | None = record
        while mended is not None:
            found.update(mended.work.techniques if mended.work else ())
            mended = None if mended.task.start is None else rounds[mended.task.start]
    return frozenset(found)


def judged_work(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """The work rounds that count: those that the gate said something about."""
    return tuple(facts_of(rounds).judged)


def alpha_spent(rounds: Sequence[Round]) -> float:
    """The chance of a wrong "better" that the rounds of work have taken, those under way by what they were promised."""
    return facts_of(rounds).alpha


def turns(rounds: Sequence[Round]) -> int:
    """How many rounds of work there were but for a gate's voids, which must not change what is drawn."""
    return facts_of(rounds).turns


def voids_in_a_row(rounds: Sequence[Round]) -> int:
    """How many of the last rounds ended in a gate that could not judge; sessions that failed do not end the row."""
    count = 0
    for record in reversed(rounds):
        if record.decision.ruling == "void" and record.assessment:
            count += 1
        elif not (record.work and record.work.failed):
            break
    return count


def failures(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """The last sessions as far as every one failed, the latest first; a `resume` since then begins the row anew."""
    found = []
    for record in reversed(rounds):
        if record.work and record.work.failed:
            found.append(record)
        elif (record.task.kind == "work" and record.decision.ruling != "pending") or any(
            order.verb == "resume" for order in record.task.orders
        ):
            break
    return tuple(found)


def _begins_anew(record: Round) -> bool:
    done = record.task.kind == "work" and record.decision.ruling != "pending"
    return done or any(order.verb == "resume" for order in record.task.orders)


def seconds(rounds: Sequence[Round]) -> float:
    """Time spent in rounds; what a killed loop lost between two rounds is not in it."""
    return facts_of(rounds).seconds


def dollars(rounds: Sequence[Round]) -> float:
    """Money spent on agents."""
    return facts_of(rounds).usd


def tokens(rounds: Sequence[Round]) -> int:
    """Tokens that agents' models read and wrote."""
    return facts_of(rounds).tokens


def fruitless(rounds: Sequence[Round]) -> int:
    """How many rounds of work were refused or changed nothing since the last gain; a gate's voids do not count."""
    count = 0
    for record in reversed(rounds):
        if record.task.kind != "work":
            continue
        if record.decision.ruling == "accept":
            break
        count += record.decision.ruling == "reject" or record.assessment is None
    return count


def gain_over_starter(rounds: Sequence[Round], last: Round) -> tuple[float, float, float]:
    """Product of the gains along the chain with its interval (independent errors, added in logarithms)."""
    total, below, above = 0.0, 0.0, 0.0
    for record in chain(rounds, last):
        found = record.assessment.comparison if record.assessment else None
        if found is None or record.task.kind == "starter":
            continue
        total += math.log(found.gain)
        below += math.log(found.gain / found.low) ** 2 if found.low > 0 else math.inf
        above += math.log(found.high / found.gain) ** 2
    return math.exp(total), math.exp(total - math.sqrt(below)), math.exp(total + math.sqrt(above))


def winner(rounds: Sequence[Round]) -> Round | None:
    """The last final round that was accepted: its base is the winning code."""
    return next((r for r in reversed(facts_of(rounds).finals) if r.decision.ruling == "accept"), None)
