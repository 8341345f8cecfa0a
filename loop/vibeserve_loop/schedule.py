"""What comes next in a run: starter, baselines, the policy's work while the budget lasts, then the final gate."""

from __future__ import annotations

from collections.abc import Sequence

from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.accounts import kept_back_s
from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.ledger.orders import in_force
from vibeserve_loop.records import Budget, Round, Settings, Task
from vibeserve_loop.roles import Policy

FAILURES_ALLOWED = 3
"""Sessions that may fail in a row, for each agent of the run, before the search ends with what it has."""

IDLE_ALLOWED = 3
"""Sessions that may come to nothing in a run that is to have fewer rounds than that: each may have to be paid for."""


def next_task(rounds: Sequence[Round], settings: Settings, policy: Policy) -> Task | None:
    """The task of the next round, or None when the run is over; a pure function of what has been recorded."""
    if lineage.starter(rounds) is None:
        refused = any(r.task.kind == "starter" and r.decision.ruling == "reject" for r in rounds)
        return None if refused else Task(kind="starter", hypothesis="the starter honours the contract")
    for folder in settings.baselines:
        if not any(r.task.baseline == folder and r.decision.ruling != "void" for r in rounds):
            return Task(kind="baseline", baseline=folder, hypothesis="what a user would run instead")
    budget = in_force(settings, rounds)
    if not _closing(rounds, settings) and not given_up(rounds, settings) and budget_left(rounds, budget):
        task = policy.propose(rounds)
        if task is not None:
            return task
    return _final(rounds, budget)


def budget_left(rounds: Sequence[Round], budget: Budget) -> bool:
    """Whether one more round fits, with the time of a full gate kept back."""
    if budget.max_rounds is not None and len(lineage.judged_work(rounds)) >= budget.max_rounds:
        return False
    if budget.max_rounds is not None and facts_of(rounds).idle >= max(IDLE_ALLOWED, budget.max_rounds):
        return False
    if budget.max_usd is not None and lineage.dollars(rounds) >= budget.max_usd:
        return False
    if budget.max_tokens is not None and lineage.tokens(rounds) >= budget.max_tokens:
        return False
    if budget.max_hours is None:
        return True
    return lineage.seconds(rounds) + _last_quick_s(rounds) + kept_back_s(rounds, budget) < budget.max_hours * 3600


def promotion_fits(rounds: Sequence[Round], budget: Budget) -> bool:
    """Whether a full gate of code that a quick one has just accepted leaves time for the final one.

    After the last round the final gate asks the same at once, and falls back on what was kept before.
    """
    if budget.max_rounds is not None and len(lineage.judged_work(rounds)) + 1 >= budget.max_rounds:
        return False
    if budget.max_hours is None:
        return True
    needed_s = _last_quick_s(rounds) + 2 * kept_back_s(rounds, budget)
    return lineage.seconds(rounds) + needed_s < budget.max_hours * 3600


def _last_quick_s(rounds: Sequence[Round]) -> float:
    return next((r.wall_s for r in reversed(rounds) if r.assessment and r.assessment.depth == "quick"), 0.0)


def given_up(rounds: Sequence[Round], settings: Settings) -> bool:
    """Whether so many sessions failed in a row that no further one is paid for."""
    return len(lineage.failures(rounds)) >= FAILURES_ALLOWED * len(settings.agents)


def _closing(rounds: Sequence[Round], settings: Settings) -> bool:
    """Whether the final gates have begun and no new budget was given since, nor a search taken up that had failed."""
    if not facts_of(rounds).finals:
        return False
    resumed = False
    for record in reversed(rounds):
        if any(order.limits for order in record.task.orders):
            return False
        resumed |= any(order.verb == "resume" for order in record.task.orders)
        if record.task.kind == "final":
            return not (resumed and given_up(rounds[: record.round], settings))
    return False


def _final(rounds: Sequence[Round], budget: Budget) -> Task | None:
    judged = [r for r in facts_of(rounds).finals if r.decision.ruling != "void"]
    best = lineage.incumbent(rounds)
    over = budget.max_hours is not None and lineage.seconds(rounds) >= budget.max_hours * 3600
    if best is None or (judged and over):
        return None
    refused = {r.task.base for r in judged if r.decision.ruling == "reject"}
    crowned = {r.task.base for r in judged if r.decision.ruling == "accept"}
    for champion in reversed(lineage.chain(rounds, best)):
        if champion.round in crowned:
            return None
        if champion.task.kind == "work" and champion.round not in refused:
            hypothesis = f"round {champion.round} passes the full gate and is better than the starter"
            return Task(kind="final", base=champion.round, hypothesis=hypothesis)
    return None
