"""What comes next in a run: starter, baselines, the policy's work while the budget lasts, then the final gate."""

from __future__ import annotations

from collections.abc import Sequence

from vibeserve_loop import lineage
from vibeserve_loop.records import Round, Settings, Task
from vibeserve_loop.roles import Policy

FULL_OVER_QUICK = 3.0
"""How much longer the full gate of a champion is expected to take than the shortest quick gate of the run."""


def next_task(rounds: Sequence[Round], settings: Settings, policy: Policy) -> Task | None:
    """The task of the next round, or None when the run is over; a pure function of what has been recorded."""
    if lineage.starter(rounds) is None:
        refused = any(r.task.kind == "starter" and r.decision.ruling == "reject" for r in rounds)
        return None if refused else Task(kind="starter", hypothesis="the starter honours the contract")
    for folder in settings.baselines:
        if not any(r.task.baseline == folder and r.decision.ruling != "void" for r in rounds):
            return Task(kind="baseline", baseline=folder, hypothesis="what a user would run instead")
    if not _finals(rounds) and budget_left(rounds, settings):
        task = policy.propose(rounds)
        if task is not None:
            return task
    return _final(rounds, settings)


def budget_left(rounds: Sequence[Round], settings: Settings) -> bool:
    """Whether one more round fits, with the time of a full gate kept back."""
    if settings.max_rounds is not None and len(lineage.judged_work(rounds)) >= settings.max_rounds:
        return False
    if settings.max_usd is not None and lineage.dollars(rounds) >= settings.max_usd:
        return False
    if settings.max_hours is None:
        return True
    last = next((r.wall_s for r in reversed(rounds) if r.assessment), 0.0)
    return lineage.seconds(rounds) + last + kept_back_s(rounds) < settings.max_hours * 3600


def kept_back_s(rounds: Sequence[Round]) -> float:
    """Seconds of the budget that the final gate is expected to need."""
    return FULL_OVER_QUICK * min((r.wall_s for r in rounds if r.assessment), default=0.0)


def _finals(rounds: Sequence[Round]) -> tuple[Round, ...]:
    return tuple(r for r in rounds if r.task.kind == "final")


def _final(rounds: Sequence[Round], settings: Settings) -> Task | None:
    judged = [r for r in _finals(rounds) if r.decision.ruling != "void"]
    best = lineage.incumbent(rounds)
    over = settings.max_hours is not None and lineage.seconds(rounds) >= settings.max_hours * 3600
    if best is None or lineage.winner(rounds) or (judged and over):
        return None
    refused = {r.task.base for r in judged}
    for champion in reversed(lineage.chain(rounds, best)):
        if champion.task.kind == "work" and champion.round not in refused:
            hypothesis = f"round {champion.round} passes the full gate and is better than the starter"
            return Task(kind="final", base=champion.round, hypothesis=hypothesis)
    return None
