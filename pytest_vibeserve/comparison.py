"""Candidate against baseline on one load: interleaved until a difference is shown, out of reach, or too dear."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_vibeserve.blocks import Runner
from pytest_vibeserve.drafts import Draft
from pytest_vibeserve.machine_state import (
    LARGEST_DRIFT,
    LARGEST_FOREIGN,
    MachineState,
    busy_s,
    canary_drift,
    foreign_share,
    observe,
    pressure_share,
)
from pytest_vibeserve.metrics import Block, measure
from pytest_vibeserve.report import Comparison, Conditions, Gain
from pytest_vibeserve.statistics import GainSequence, Interval, orders, quad, rate_interval, relation
from pytest_vibeserve.stopping import Effort, Ended, Tally, ending
from pytest_vibeserve.target import Objective

PAIRS_A_QUAD = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """What decides, fixed beforehand: objectives (the headline first), chance of a wrong "better", effort."""

    objectives: tuple[Objective, ...]
    alpha: float
    effort: Effort


@dataclass(frozen=True, slots=True)
class Names:
    """Who the rival is: its name and its tree."""

    name: str
    tree: str


@dataclass(slots=True)
class _Quad:
    draft: Draft
    pattern: str
    ours: list[Block] = field(default_factory=list)
    theirs: list[Block] = field(default_factory=list)
    states: list[MachineState] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)

    @property
    def turn(self) -> str:
        """Whose block comes next: A ours, B theirs, nothing at the end."""
        return self.pattern[len(self.ours) + len(self.theirs) :][:1]

    @property
    def is_steady(self) -> bool:
        """Whether it counts: nothing that both arms answer for, the canary and the share of others, has moved."""
        return canary_drift(self.states) <= LARGEST_DRIFT and max(self.foreign) - min(self.foreign) <= LARGEST_FOREIGN


class Contest:
    """Takes turns: `before`, `timed` (one block of ours), `after`, again and again until `is_over`."""

    def __init__(self, ours: Runner, theirs: Runner, rule: Rule, draws: random.Random) -> None:
        """Both servers are warm and asleep; `draws` choose the order of each quad."""
        self._ours, self._theirs, self._rule, self._orders = ours, theirs, rule, orders(draws)
        # The same work for both: a block of one wave is mostly its tail, and would flatter whoever has the longer one.
        self._count = max(2, round(math.sqrt(ours.count * theirs.count)))
        self._quads: list[_Quad] = []
        self._tally = Tally(rule.alpha, rule.effort)
        self._began = time.monotonic()
        self._has_failed = False
        self.ended: Ended | None = None

    @property
    def blocks(self) -> list[Block]:
        """Every block of ours, those of dropped quads too: all their answers are to be audited."""
        return [block for found in self._quads for block in found.ours]

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be measured, because it is settled or because our own answers already failed."""
        return self.ended is not None or self._has_failed

    def before(self) -> None:
        """Begin a quad where one has ended, and let the rival have its turn."""
        if not self._has_failed and (not self._quads or not self._quads[-1].turn):
            self._quads.append(_Quad(self._ours.draft(self._count), next(self._orders)))
        self._rival_turns()

    def timed(self) -> None:
        """One block of ours; nothing once its answers have failed."""
        if not self._has_failed:
            block = self._block(self._ours)
            self._quads[-1].ours.append(block)
            self._has_failed = block.has_failed

    def after(self) -> None:
        """Let the rival have its turn, and settle the quad that ends with it."""
        self._rival_turns()
        found = self._quads[-1]
        if not found.turn and not self._has_failed:
            found.states.append(observe())
            self._settle(found)

    def _rival_turns(self) -> None:
        found = self._quads[-1]
        while found.turn == "B" and not self._has_failed:
            found.theirs.append(self._block(self._theirs))

    def _block(self, runner: Runner) -> Block:
        found = self._quads[-1]
        found.states.append(observe())
        draft = runner.reworded(found.draft)
        began, busy, own = time.monotonic(), busy_s(), runner.cpu_s()
        block = runner.block(draft)
        taken = foreign_share(_less(busy_s(), busy), _less(runner.cpu_s(), own), time.monotonic() - began)
        found.foreign.append(taken)
        return block

    def _settle(self, found: _Quad) -> None:
        self._tally.add(quad(*_values(self._rule.objectives[0], found)), found.is_steady)
        spent_s = time.monotonic() - self._began
        self.ended = ending(self._tally.gains, len(self._tally), spent_s, self._rule.effort)

    def comparison(self, rival: Names) -> Comparison:
        """What came of it."""
        steady = [found for found in self._quads if found.is_steady] if len(self._tally.gains) else []
        kept = self._quads if self._tally.takes_all else steady
        headline, gains_seen = self._rule.objectives[0], self._tally.gains
        gain = gains_seen.gain
        gains = tuple(_gain(objective, kept, self._rule.alpha) for objective in self._rule.objectives)
        mine, theirs = _samples(headline, kept)
        return Comparison(
            baseline=rival.name, baseline_tree=rival.tree, metric=headline.metric, load=headline.load,
            gain=gain.value, low=gain.low, high=gain.high, conclusion=gains_seen.conclusion(), unit=headline.unit,
            pairs=PAIRS_A_QUAD * len(kept), dropped=PAIRS_A_QUAD * (len(self._quads) - len(kept)),
            unsteady=PAIRS_A_QUAD * (len(kept) - len(steady)) if self._tally.takes_all else 0,
            baseline_value=rate_interval(theirs).value if theirs else math.nan,
            candidate_value=rate_interval(mine).value if mine else math.nan,
            ratios=tuple(quad(*_values(headline, found)).ratio for found in kept),
            confidence=1 - 2 * self._rule.alpha, noise=gains_seen.noise, ended=self.ended or "pairs spent",
            conditions=_conditions(self._quads), objectives=tuple(found for found, _ in gains),
            relation=relation([interval for _, interval in gains]),
            relation_here=relation([interval for _, interval in gains]),
        )  # fmt: skip


def whole(found: Comparison, beside: Sequence[Comparison], loads: Sequence[str]) -> Comparison:
    """The headline's comparison with what was found at other loads, of all `loads` that have objectives."""
    gains = (*found.objectives, *(gain for other in beside for gain in other.objectives))
    seen = {found.load, *(other.load for other in beside)}
    related = relation([Interval(gain.gain, gain.low, gain.high) for gain in gains])
    left = tuple(load for load in dict.fromkeys(loads) if load not in seen)
    return found.model_copy(update={"objectives": gains, "relation": related, "not_compared": left})


def _less(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _values(objective: Objective, found: _Quad) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both blocks of each arm, ours first where more is better: their ratio is then above one for a gain."""
    ours = (measure(objective.metric, found.ours[0]), measure(objective.metric, found.ours[1]))
    theirs = (measure(objective.metric, found.theirs[0]), measure(objective.metric, found.theirs[1]))
    return (ours, theirs) if objective.direction == "max" else (theirs, ours)


def _gain(objective: Objective, kept: Sequence[_Quad], alpha: float) -> tuple[Gain, Interval]:
    gains = GainSequence(alpha)
    for found in kept:
        gains.add(quad(*_values(objective, found)))
    interval = gains.gain
    told = Gain(
        metric=objective.metric, load=objective.load, gain=interval.value, low=interval.low, high=interval.high,
        conclusion=gains.conclusion(),
    )  # fmt: skip
    return told, interval


def _samples(headline: Objective, kept: Sequence[_Quad]) -> tuple[list[float], list[float]]:
    ours = [measure(headline.metric, block) for found in kept for block in found.ours]
    return ours, [measure(headline.metric, block) for found in kept for block in found.theirs]


def _conditions(quads: Sequence[_Quad]) -> Conditions:
    states = [state for found in quads for state in found.states]
    clocks = [state.clock_mhz for state in states if state.clock_mhz is not None]
    return Conditions(
        canary_drift=canary_drift(states), pressure=pressure_share(states),
        foreign=max((taken for found in quads for taken in found.foreign), default=0.0),
        clock_mhz=(min(clocks), max(clocks)) if clocks else None,
    )  # fmt: skip
