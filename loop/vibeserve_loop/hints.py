"""What the gate's hints are worth to a search: how much there is to gain, and in which metric it shows."""

from __future__ import annotations

from collections.abc import Sequence

from vibeserve_loop.records import Issue, Round

CONCERNS_OTHERS = 0.4
"""The weight of an issue that shows in another metric than the headline."""
SHOWS_IN = {
    "queueing": ("ttft", "e2e_latency"),
    "prefill-stall": ("ttft", "itl", "tpot"),
    "serial-service": ("output_throughput", "request_throughput", "goodput", "ttft", "e2e_latency"),
    "batch-efficiency": ("output_throughput", "request_throughput", "goodput", "tpot", "itl", "e2e_latency"),
}
"""The metrics that a hint is about; a hint that is not listed concerns all of them."""


def issues_of(record: Round) -> tuple[Issue, ...]:
    """What the gate's hints complain about in a round's code, strongest first."""
    found = record.assessment
    metric = found.headline.metric if found and found.headline else ""
    hints = found.hints if found else ()
    issues = [Issue(name=h.name, weight=_weight(h.value) * _concern(h.name, metric), text=h.text) for h in hints]
    return ranked(issues)


def ranked(issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """Issues by weight, equal ones by name."""
    return tuple(sorted(issues, key=lambda issue: (-issue.weight, issue.name)))


def faded(issue: Issue, factor: float) -> Issue:
    """The same issue with less weight."""
    return issue.model_copy(update={"weight": issue.weight * factor})


def _concern(hint: str, metric: str) -> float:
    metrics = SHOWS_IN.get(hint, ())
    return 1.0 if not metrics or not metric or metric.startswith(metrics) else CONCERNS_OTHERS


def _weight(times_above_floor: float) -> float:
    """The share of the present cost that is above its floor: 0 at the floor, towards 1 far above it."""
    return max(0.0, 1.0 - 1.0 / times_above_floor) if times_above_floor > 0 else 0.0
