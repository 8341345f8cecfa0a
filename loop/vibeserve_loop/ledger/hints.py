"""What the gate's hints are worth to a search: how much there is to gain, and in which metric it shows."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_vibeserve.insight import Insight, Operator
from vibeserve_loop.records import Issue, Round

CONCERNS_OTHERS = 0.4
"""The weight of an issue that shows in another metric than the headline."""
NOTICED = 0.05
"""A share of the wall that moved by less is not told."""
SHOWS_IN = {
    "queueing": ("ttft", "e2e_latency"),
    "prefill-stall": ("ttft", "itl", "tpot"),
    "shared-beginnings": ("ttft", "output_throughput", "request_throughput", "goodput", "e2e_latency"),
    "serial-service": ("output_throughput", "request_throughput", "goodput", "ttft", "e2e_latency"),
    "batch-efficiency": ("output_throughput", "request_throughput", "goodput", "tpot", "itl", "e2e_latency"),
}
"""The metrics that a hint is about; a hint that is not listed concerns all of them."""


def issues_of(record: Round) -> tuple[Issue, ...]:
    """What the gate's hints complain about in a round's code, strongest first.

    What was seen inside weighs by the gain that it could bring, in place of what was told from outside of the same.
    """
    found = record.assessment
    if found is None:
        return ()
    metric = found.headline.metric if found.headline else ""
    inside = dict(found.insight.gains) if found.insight else {}
    said = {one.relieves: one.text for one in found.insight.hypotheses} if found.insight else {}
    issues = [
        Issue(name=h.name, weight=_weight(h.value) * _concern(h.name, metric), text=h.text)
        for h in found.hints if h.name not in inside
    ]  # fmt: skip
    issues += [
        Issue(name=name, weight=_weight(gain), text=said.get(name, f"seen inside: at most x{gain:.2f} to be had"))
        for name, gain in inside.items()
    ]
    return ranked(issues)


def told_insight(found: Insight, parent: Insight | None) -> list[str]:
    """What a profiled pass saw, in lines for an agent, the hypotheses first."""
    lines = [f"at most x{one.gain:.2f} by {one.relieves}: {one.text}" for one in found.hypotheses]
    shares = (("prefill", found.prefill), ("decode", found.decode), ("host", found.host), ("idle", found.idle))
    lines.append(
        "share of the wall: " + ", ".join(f"{name} {share:.0%}" for name, share in shares if share is not None)
    )
    if parent is not None:
        lines.append(f"since the parent: {changed(parent, found)}")
    if found.busy is not None:
        launching = f"; {found.launch_bound:.0%} of a step is launching" if found.launch_bound is not None else ""
        lines.append(f"the machine was used to {found.busy:.0%}{launching}")
    lines += [f"gap: {gap.share:.0%} of the wall, at most {gap.longest_ms:.1f} ms: {gap.cause}" for gap in found.gaps]
    lines += [_operator(one) for one in found.operators]
    lines += [f"function {name}: {share:.0%} of the samples at work" for name, share in found.functions]
    if found.occupancy:
        lines.append(f"streams in a decoding step over time: {', '.join(f'{n:.3g}' for n in found.occupancy)}")
    return [*lines, *(f"not seen: {note}" for note in found.notes)]


def changed(parent: Insight, found: Insight) -> str:
    """What is another share of the wall than in the code that this was made from, the largest change first."""
    moved: list[tuple[float, str]] = []
    for name in ("prefill", "decode", "host", "idle", "busy", "launch_bound"):
        before, after = getattr(parent, name), getattr(found, name)
        if before is not None and after is not None and abs(after - before) >= NOTICED:
            moved.append((-abs(after - before), f"{name.replace('_', '-')} {before:.0%} to {after:.0%}"))
    return ", ".join(text for _, text in sorted(moved)) or "no share moved by a twentieth"


def _operator(one: Operator) -> str:
    reached = f", {one.roofline:.0%} of its roofline" if one.roofline is not None else ""
    return f"operator {one.name}: {one.share:.0%} of the wall, {one.calls_per_s:,.0f} calls a second{reached}"


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
