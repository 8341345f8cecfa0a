"""The population of a search: all code that the gate found correct, what it measures, and who dominates whom."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.report import Measurement
from pytest_vibeserve.target import Objective
from vibeserve_loop.ledger.fold import Growing, log_gain
from vibeserve_loop.records import Knobs, Round


@dataclass(frozen=True, slots=True)
class Member:
    """One round's code: its logarithmic gain over the starter, and its measured values on the objectives."""

    round: int
    island: int
    fitness: float
    values: tuple[Measurement | None, ...]


class Population:
    """The starter and all correct work, in order; the fitness is the mean logarithmic gain over the objectives."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        """Take what counts; the headline, where it is among them, by the gate's comparisons."""
        self._objectives = tuple(objectives)
        self.members: list[Member] = []
        self._logs: dict[int, float] = {}

    def take_in(self, record: Round) -> None:
        """Add one round."""
        log = log_gain(record, self._logs)
        if log is None:
            return
        self._logs[record.round] = log
        values = _values(record, self._objectives)
        origin = self.members[0].values if self.members else values
        gains = [
            log if _compared(record, objective, value) else _log_gain(value, first)
            for objective, value, first in zip(self._objectives, values, origin, strict=True)
        ]
        fitness = sum(gains) / len(gains) if gains else log
        self.members.append(Member(record.round, record.task.island, fitness, values))


def population_of(objectives: Sequence[Objective]) -> Growing[Population]:
    """The fold of rounds into their population."""
    return Growing(lambda: Population(objectives), Population.take_in)


def of_island(every: Sequence[Member], island: int, worked: int, knobs: Knobs) -> tuple[Member, ...]:
    """Who lives on an island: its own, the starter, and the best that each other island had at the last migration."""
    last = worked - worked % knobs.migrate_every
    mine = [m for m in every if m.island == island or m is every[0]]
    for other in range(knobs.islands):
        abroad = [m for m in every[1:] if m.island == other != island and m.round <= last]
        if abroad:
            mine.append(max(abroad, key=lambda m: (m.fitness, m.round)))
    return tuple(sorted(mine, key=lambda m: m.round))


def front(group: Sequence[Member]) -> tuple[Member, ...]:
    """Those whom nobody dominates beyond the noise of the measurements."""
    return tuple(m for m in group if not any(dominates(other, m) for other in group))


def dominates(one: Member, other: Member) -> bool:
    """Better beyond the noise on some objective, and on none worse beyond it."""
    pairs = [(a, b) for a, b in zip(one.values, other.values, strict=True) if a and b]
    return any(_better(a, b) for a, b in pairs) and not any(_better(b, a) for a, b in pairs)


def parent(group: Sequence[Member], knobs: Knobs, several: bool, draw: random.Random) -> Member:
    """With several objectives from the front, by the chance of `frontier_bias`; else by a softmax of fitness."""
    if several and draw.random() < knobs.frontier_bias:
        return draw.choice(front(group) or tuple(group))
    top = max(m.fitness for m in group)
    weights = [math.exp((m.fitness - top) / knobs.temperature) for m in group]
    return draw.choices(list(group), weights)[0]


def inspirations(group: Sequence[Member], chosen: Member, knobs: Knobs, draw: random.Random) -> tuple[int, ...]:
    """The best others, then some drawn from the rest."""
    others = sorted((m for m in group if m is not chosen), key=lambda m: (-m.fitness, m.round))
    best, rest = others[: knobs.top_inspirations], others[knobs.top_inspirations :]
    drawn = draw.sample(rest, min(knobs.random_inspirations, len(rest)))
    return tuple(m.round for m in (*best, *drawn))


def objectives_named(texts: Sequence[str], known: Sequence[Objective]) -> tuple[Objective, ...]:
    """The target's objectives that `metric[@load]:max|min` name; without a load the first of that metric.

    UsageError, with the nearest name, for one that the target does not measure, or that goes the other way there.
    """
    return tuple(dict.fromkeys(_named(text, known) for text in texts))


def _named(text: str, known: Sequence[Objective]) -> Objective:
    name, colon, direction = text.rpartition(":")
    metric, _, load = name.partition("@")
    if not colon or direction not in ("max", "min"):
        raise UsageError(f"--objective {text!r}: write it as metric:max, or metric@load:min")
    same = [o for o in known if o.metric == metric and (not load or o.load == load)]
    if not same:
        names = nearest(name, [part for o in known for part in ((f"{o.metric}@{o.load}",) if load else (o.metric,))])
        raise UsageError(f"--objective {text!r}: the target has no such objective; {names}")
    if same[0].direction != direction:
        better = "higher" if same[0].direction == "max" else "lower"
        right = f"{name}:{same[0].direction}"
        raise UsageError(f"--objective {text!r}: of {metric} {better} is better for this target; write {right}")
    return same[0]


def _compared(record: Round, objective: Objective, value: Measurement | None) -> bool:
    """Whether the gate's comparisons are about this objective."""
    found = record.assessment.comparison if record.assessment else None
    if found is not None:
        return (found.metric, found.load) == (objective.metric, objective.load)
    return value is None or value.headline


def _values(record: Round, objectives: Sequence[Objective]) -> tuple[Measurement | None, ...]:
    measured = record.assessment.measurements if record.assessment else ()
    return tuple(
        next((m for m in measured if (m.metric, m.load) == (o.metric, o.load)), None) for o in objectives
    )  # fmt: skip


def _log_gain(value: Measurement | None, origin: Measurement | None) -> float:
    if value is None or origin is None or value.value <= 0 or origin.value <= 0:
        return 0.0
    gain = math.log(value.value / origin.value)
    return gain if value.direction == "max" else -gain


def _better(a: Measurement, b: Measurement) -> bool:
    return a.low > b.high if a.direction == "max" else a.high < b.low
