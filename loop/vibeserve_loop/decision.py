"""What the gate's finding means for a round; pure functions."""

from __future__ import annotations

from vibeserve_loop.records import Assessment, Decision, Task


def by_interval(assessment: Assessment) -> Decision:
    """Accept what the gate accepted and showed, beyond the noise, to be better than the incumbent."""
    refusal = by_verdict(assessment)
    if refusal.ruling != "accept":
        return refusal
    comparison = assessment.comparison
    if comparison is None:
        return Decision(ruling="void", reason="the gate made no comparison with the incumbent")
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
