"""Which of several agents works next: those that gave more for their cost come more often; a pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vibeserve_loop.records import Round

EXPLORATION = 0.5
CHEAPEST = 1e-6


@dataclass(frozen=True, slots=True)
class Arm:
    """One agent: rounds that it had, logarithmic gains that were kept, and what its sessions cost."""

    label: str
    rounds: int
    gain: float
    cost: float


def choose(rounds: Sequence[Round], labels: Sequence[str]) -> str:
    """The label of the next agent: each once, then the largest upper bound (UCB1) of gain, over its relative cost."""
    if len(labels) < 2:
        return labels[0] if labels else ""
    paid = any(r.work and r.work.spend.usd for r in rounds)
    arms = [_arm(rounds, label, label == labels[0], paid=paid) for label in labels]
    untried = [arm.label for arm in arms if not arm.rounds]
    if untried:
        return untried[0]
    played = sum(arm.rounds for arm in arms)
    scale = max(arm.gain / arm.rounds for arm in arms) or 1.0
    dearest = max(max(arm.cost / arm.rounds for arm in arms), CHEAPEST)
    worth = {arm.label: _bound(arm, played, scale) / _price(arm, dearest) for arm in arms}
    return max(labels, key=lambda label: worth[label])


def _arm(rounds: Sequence[Round], label: str, first: bool, *, paid: bool) -> Arm:
    """What one agent gave and cost, in dollars, or in seconds when no session of the run was paid for."""
    names = (label, "") if first else (label,)
    mine = [r for r in rounds if r.task.kind == "work" and r.work and r.task.agent in names]
    kept = [r.assessment.comparison for r in mine if r.decision.ruling == "accept" and r.assessment]
    gain = sum(math.log(max(found.gain, 1.0)) for found in kept if found)
    spends = [r.work.spend for r in mine if r.work]
    return Arm(label, len(mine), gain, sum(spend.usd if paid else spend.seconds for spend in spends))


def _bound(arm: Arm, played: int, scale: float) -> float:
    return arm.gain / arm.rounds + EXPLORATION * scale * math.sqrt(2 * math.log(played) / arm.rounds)


def _price(arm: Arm, dearest: float) -> float:
    """Mean cost as a share of the dearest arm's, softened by a root: cheap and useless is no bargain."""
    return math.sqrt(max(arm.cost / arm.rounds, CHEAPEST) / dearest)
