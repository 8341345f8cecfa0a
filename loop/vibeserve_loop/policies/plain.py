"""Work off what the profile complains about, strongest first, until nothing is left or nothing helps any more."""

from __future__ import annotations

from collections.abc import Sequence

from vibeserve_loop import decision, lineage
from vibeserve_loop.records import Assessment, Decision, Issue, Round, Task

PLATEAU = 4
FADE = 0.6
CONCERNS_OTHERS = 0.4
"""The weight of an issue that shows in another metric than the headline."""
SHOWS_IN = {
    "queueing": ("ttft", "e2e_latency"),
    "prefill-stall": ("ttft", "itl", "tpot"),
    "serial-service": ("output_throughput", "request_throughput", "goodput", "ttft", "e2e_latency"),
    "batch-efficiency": ("output_throughput", "request_throughput", "goodput", "tpot", "itl", "e2e_latency"),
}
"""The metrics that a hint is about; a hint that is not listed concerns all of them."""


class PlainPolicy:
    """A queue of issues, derived afresh from the rounds: the incumbent's hints, each fading with every failed round."""

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """The incumbent with its issues; None on a plateau, or when the agent knew nothing more to try on it."""
        best = lineage.incumbent(rounds)
        if best is None:
            return None
        since = [r for r in rounds if r.task.kind == "work" and r.task.base == best.round]
        failed = [r for r in since if r.assessment is None or r.decision.ruling != "void"]
        if len(failed) >= PLATEAU or any(r.work and r.work.exhausted for r in since):
            return None
        issues = _queue(best, failed)
        subject = issues[0].name if issues else "any part"
        return Task(kind="work", base=best.round, issues=issues, hypothesis=f"relieving {subject} raises the headline")

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep what is better than the incumbent beyond the noise."""
        return decision.by_interval(assessment)


def _queue(best: Round, failed: Sequence[Round]) -> tuple[Issue, ...]:
    hints = best.assessment.hints if best.assessment else ()
    tried = [r.task.issues[0].name for r in failed if r.task.issues]
    headline = best.assessment.headline if best.assessment else None
    metric = headline.metric if headline else ""
    weights = {h.name: _weight(h.value) * _concern(h.name, metric) * FADE ** tried.count(h.name) for h in hints}
    issues = [Issue(name=hint.name, weight=weights[hint.name], text=hint.text) for hint in hints]
    return tuple(sorted(issues, key=lambda issue: (-issue.weight, issue.name)))


def _concern(hint: str, metric: str) -> float:
    metrics = SHOWS_IN.get(hint, ())
    return 1.0 if not metrics or not metric or metric.startswith(metrics) else CONCERNS_OTHERS


def _weight(times_above_floor: float) -> float:
    """The share of the present cost that is above its floor: 0 at the floor, towards 1 far above it."""
    return max(0.0, 1.0 - 1.0 / times_above_floor) if times_above_floor > 0 else 0.0
