"""Who descends from whom: pure folds over the rounds of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from pytest_vibeserve.report import Comparison
from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.records import Round

LARGEST_LOG = 700.0
"""Of what is still a number when it is raised again."""


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
        elif _begins_anew(record):
            break
    return tuple(found)


def _begins_anew(record: Round) -> bool:
    done = record.task.kind == "work" and record.decision.ruling != "pending"
    return done or any(order.verb == "resume" for order in record.task.orders)


def seconds(rounds: Sequence[Round]) -> float:
    """Time spent in rounds; what a killed loop lost between two rounds is not in it."""
    return facts_of(rounds).seconds


def dollars(rounds: Sequence[Round]) -> float:
    """Money spent on agents, for sessions under way what they were promised."""
    return facts_of(rounds).usd


def tokens(rounds: Sequence[Round]) -> int:
    """Tokens that agents' models read and wrote, for sessions under way what they were promised."""
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
    """Gain of a round's code on the headline, with its interval, by every comparison on the way there."""
    return product((found.gain, found.low, found.high) for found in comparisons(rounds, last))


def objective_gain(rounds: Sequence[Round], last: Round, key: tuple[str, str]) -> tuple[float, float, float] | None:
    """The same on any objective (metric, load); None where some comparison on the way did not look at it."""
    steps = [found.on(*key) for found in comparisons(rounds, last)]
    return product((step.gain, step.low, step.high) for step in steps if step) if all(steps) else None


def comparisons(rounds: Sequence[Round], last: Round) -> tuple[Comparison, ...]:
    """The comparisons from the starter to a round; a final gate compares with the starter itself."""
    steps = (last,) if last.task.kind == "final" else chain(rounds, last)[1:]
    return tuple(r.assessment.comparison for r in steps if r.assessment and r.assessment.comparison)


def product(gains: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Gains one upon the other, each (gain, low, high): errors are independent and are added in logarithms."""
    total, below, above = 0.0, 0.0, 0.0
    for gain, low, high in gains:
        total += _log(gain)
        below += _distance(low, gain) ** 2
        above += _distance(gain, high) ** 2
    return _shifted(total, 0.0), _shifted(total, -math.sqrt(below)), _shifted(total, math.sqrt(above))


def _log(gain: float) -> float:
    return math.log(gain) if gain > 0 else -math.inf


def _distance(low: float, high: float) -> float:
    return 0.0 if low == high else _log(high) - _log(low)


def _shifted(total: float, by: float) -> float:
    """A product at an end of its interval; an end that is open stays so where nothing at all was served."""
    end = by if math.isinf(by) else total + by
    return math.exp(end) if end < LARGEST_LOG else math.inf


def winner(rounds: Sequence[Round]) -> Round | None:
    """The last final round that was accepted: its base is the winning code."""
    return next((r for r in reversed(facts_of(rounds).finals) if r.decision.ruling == "accept"), None)
