"""Who descends from whom: pure folds over the rounds of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vibeserve_loop.records import Round


def starter(rounds: Sequence[Round]) -> Round | None:
    """The round in which the starter was accepted."""
    return next((r for r in rounds if r.task.kind == "starter" and r.decision.ruling == "accept"), None)


def incumbent(rounds: Sequence[Round]) -> Round | None:
    """The round that holds the best code so far: the last accepted work, else the starter."""
    kept = [r for r in rounds if r.task.kind in ("starter", "work") and r.decision.ruling == "accept"]
    return kept[-1] if kept else None


def chain(rounds: Sequence[Round], last: Round) -> tuple[Round, ...]:
    """A round and its ancestors, the starter first."""
    line = [last]
    while line[-1].task.kind != "starter":
        line.append(rounds[line[-1].task.base])
    return tuple(reversed(line))


def applied(rounds: Sequence[Round], last: Round) -> frozenset[str]:
    """The techniques in a round's code."""
    return frozenset(name for r in chain(rounds, last) if r.work for name in r.work.techniques)


def judged_work(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """The work rounds that count: those that the gate said something about."""
    return tuple(r for r in rounds if r.task.kind == "work" and r.decision.ruling != "void")


def voids_in_a_row(rounds: Sequence[Round]) -> int:
    """How many of the last rounds ended in a gate that could not judge."""
    count = 0
    for record in reversed(rounds):
        if record.decision.ruling != "void" or record.assessment is None:
            break
        count += 1
    return count


def seconds(rounds: Sequence[Round]) -> float:
    """Time spent in rounds; what a killed loop lost between two rounds is not in it."""
    return sum(r.wall_s for r in rounds)


def dollars(rounds: Sequence[Round]) -> float:
    """Money spent on agents."""
    return sum(r.work.spend.usd for r in rounds if r.work)


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
    """The final round that was accepted: its base is the winning code."""
    return next((r for r in rounds if r.task.kind == "final" and r.decision.ruling == "accept"), None)
