"""What the gate's finding means for a round, and how sure it must be; pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_vibeserve.statistics import alpha_share
from vibeserve_loop.ledger import lineage
from vibeserve_loop.records import Assessment, Decision, Round, Task

SEARCH_ALPHA = 0.04
"""The chance that a whole run keeps any change that is no gain."""
FINALS_ALPHA = 0.01
"""The chance that its final gates confirm a winner that is no better than the starter."""

LEAST_ALPHA = 1e-6


def alpha_for(task: Task, rounds: Sequence[Round], max_rounds: int | None) -> float | None:
    """The chance of a wrong "better" that this round's comparison may take; None for those that decide nothing.

    Work shares what earlier rounds have left equally among those to come, with one share kept for a budget that is
    raised later; without a known number it follows a series.  A second final gate may take half of what the first took.
    """
    if task.kind == "final":
        before = sum(r.task.kind == "final" and r.decision.ruling != "void" for r in rounds)
        return FINALS_ALPHA * 0.5 ** (1 + before)
    if task.kind != "work":
        return None
    left = max(LEAST_ALPHA, SEARCH_ALPHA - lineage.alpha_spent(rounds))
    number = 1 + len(lineage.judged_work(rounds))
    if max_rounds is None:
        return min(alpha_share(number, SEARCH_ALPHA), left / 2)
    return left / (max(1, max_rounds - number + 1) + 1)


def by_interval(assessment: Assessment) -> Decision:
    """Accept what the gate accepted and showed, beyond the noise, to be better than the incumbent."""
    refusal = by_verdict(assessment)
    if refusal.ruling != "accept":
        return refusal
    comparison = assessment.comparison
    if comparison is None:
        return Decision(ruling="void", reason="the gate made no comparison with the incumbent")
    if comparison.dropped and not comparison.pairs:
        return Decision(ruling="void", reason=f"the machine was too busy: all {comparison.dropped} pairs were dropped")
    told = f"{comparison.conclusion}: {gain_text(comparison.gain, comparison.low, comparison.high)}"
    return Decision(ruling="accept" if comparison.conclusion == "better" else "reject", reason=told)


def by_verdict(assessment: Assessment) -> Decision:
    """Accept what the gate accepted; what it could not judge is void, what it could not settle is rejected."""
    if assessment.outcome in ("infrastructure", "nothing"):
        return Decision(ruling="void", reason=assessment.reason)
    if assessment.outcome == "inconclusive":
        return Decision(ruling="reject", reason=f"inconclusive: {assessment.reason}")
    if assessment.outcome == "rejected":
        return Decision(ruling="reject", reason=assessment.reason)
    return Decision(ruling="accept", reason=assessment.reason)


def of_fixed_task(task: Task, assessment: Assessment) -> Decision:
    """The decision for rounds that no policy proposes: starter and baselines must be accepted, a final be better."""
    return by_interval(assessment) if task.kind == "final" else by_verdict(assessment)


def gain_text(gain: float, low: float, high: float) -> str:
    """A gain with its interval, for people: `x1.42 [1.38, 1.46]`."""
    return f"x{gain:.2f} [{low:.2f}, {high:.2f}]"
