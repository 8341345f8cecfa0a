"""Which of several agents works next: those that gave more for their cost come more often; a pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vibeserve_loop.records import Round

EXPLORATION = 0.5
CHEAPEST = 1e-6
FAILURES = 3
"""An agent whose last sessions failed so often in a row is passed over while another does better."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One agent: rounds that it had and has under way, logarithmic gains that were kept, what its sessions cost."""

    label: str
    rounds: int
    under_way: int
    gain: float
    cost: float
    failing: bool


def choose(rounds: Sequence[Round], labels: Sequence[str]) -> str:
    """The label of the next agent: each once, then the largest upper bound (UCB1) of gain, over its relative cost.

    A round that is under way counts as had, its gain and cost as unknown.
    """
    if len(labels) < 2:
        return labels[0] if labels else ""
    paid = any(r.work and r.work.spend.usd for r in rounds)
    every = [_arm(rounds, label, label == labels[0], paid=paid) for label in labels]
    arms = [arm for arm in every if not arm.failing] or every
    known = [arm for arm in arms if arm.rounds]
    unheard = [arm for arm in arms if not arm.rounds]
    if unheard and (not known or not all(arm.under_way for arm in unheard)):
        return min(unheard, key=lambda arm: arm.under_way).label
    played = sum(arm.rounds + arm.under_way for arm in known)
    scale = max(arm.gain / arm.rounds for arm in known) or 1.0
    dearest = max(max(arm.cost / arm.rounds for arm in known), CHEAPEST)
    return max(known, key=lambda arm: _bound(arm, played, scale) / _price(arm, dearest)).label


def _arm(rounds: Sequence[Round], label: str, first: bool, *, paid: bool) -> Arm:
    """What one agent gave and cost, in dollars, or in seconds when no session of the run was paid for."""
    names = (label, "") if first else (label,)
    given = [r for r in rounds if r.task.kind == "work" and r.task.agent in names]
    mine = [r for r in given if r.work]
    kept = [r.assessment.comparison for r in mine if r.decision.ruling == "accept" and r.assessment]
    gain = sum(math.log(max(found.gain, 1.0)) for found in kept if found)
    spends = [r.work.spend for r in mine if r.work]
    cost = sum(spend.usd if paid else spend.seconds for spend in spends)
    last = [bool(r.work and r.work.failed) for r in mine[-FAILURES:]]
    under_way = sum(r.decision.ruling == "pending" for r in given)
    return Arm(label, len(mine), under_way, gain, cost, len(last) == FAILURES and all(last))


def _bound(arm: Arm, played: int, scale: float) -> float:
    had = arm.rounds + arm.under_way
    return arm.gain / arm.rounds + EXPLORATION * scale * math.sqrt(2 * math.log(played) / had)


def _price(arm: Arm, dearest: float) -> float:
    """Mean cost as a share of the dearest arm's, softened by a root: cheap and useless is no bargain."""
    return math.sqrt(max(arm.cost / arm.rounds, CHEAPEST) / dearest)
