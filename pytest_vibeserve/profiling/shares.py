"""From what was recorded to shares: phases, launches, gaps, operators, occupancy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_vibeserve.ceiling import Cost, prefill_s, step_s
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.insight import Gap, Operator
from pytest_vibeserve.machine_rates import Machine
from pytest_vibeserve.profiling.spans import Recording, Span, covered, length, overlap
from pytest_vibeserve.profiling.stacks import Stacks
from pytest_vibeserve.profiling.threads import Looks

ELEMENT_BYTES = 2
SHOWN_OPERATORS = 5
NAME_CHARACTERS = 36
PARTS = 8


@dataclass(frozen=True, slots=True)
class Wall:
    """Shares of the wall, which add up to 1; prefill and decode are None where no step could be told."""

    prefill: float | None
    decode: float | None
    host: float
    idle: float

    @property
    def model(self) -> float:
        """Share in which the model computed, 0 where that is not known."""
        return (self.prefill or 0.0) + (self.decode or 0.0)


def wall(recording: Recording, looks: Looks) -> Wall:
    """Steps by phase; the rest is idle where no thread ran, and host where one did.  Unseen threads count as host."""
    seconds = recording.seconds
    steps = covered(recording.steps)
    idle = looks.idle(recording.window, steps) or 0.0
    if not recording.steps:
        return Wall(None, None, 1 - idle, idle)
    decode = min(1.0, length(covered(recording.of("decode"))) / seconds)
    prefill = min(1.0 - decode, max(0.0, length(steps) / seconds - decode))
    idle = min(idle, 1 - prefill - decode)
    return Wall(prefill, decode, max(0.0, 1 - prefill - decode - idle), idle)


def launch_bound(recording: Recording) -> float | None:
    """Share of the steps' time in which no kernel, or on a CPU no operator without one below it, ran."""
    at_work = recording.kernels or recording.operators
    steps = covered(recording.steps)
    if not at_work or not steps:
        return None
    return max(0.0, 1 - overlap(steps, covered(at_work)) / length(steps))


def gaps(recording: Recording, looks: Looks, stacks: Stacks) -> tuple[Gap, ...]:
    """Time between steps by cause: work of the host, named by its commonest function, or nothing that ran at all."""
    steps = covered(recording.steps)
    holes = [(end, start) for (_, end), (start, _) in pairwise(steps) if start > end]
    seen = [(at, running) for at, running in looks.moments if any(a <= at <= b for a, b in holes)]
    if not holes or not seen:
        return ()
    share = length(holes) / recording.seconds
    worked = sum(1 for _, running in seen if running) / len(seen)
    leaf = next((name for name, _ in stacks.leaves.most_common() if "model.py" not in name and "torch" not in name), "")
    causes = [(f"work of the host{f', most of it {leaf}' if leaf else ''}", worked), ("nothing ran", 1 - worked)]
    longest = 1e3 * max(end - start for start, end in holes)
    found = [Gap(cause=name[:80], share=_round(share * part), longest_ms=_round(longest)) for name, part in causes]
    return tuple(gap for gap in found if gap.share >= 0.005)


def operators(recording: Recording, rates: Machine | None) -> tuple[Operator, ...]:
    """What took the most of the wall, each with the share of its roofline where its operands are known."""
    groups: dict[str, list[Span]] = defaultdict(list)
    for span in recording.kernels or recording.operators:
        groups[span.name].append(span)
    order = sorted(groups.items(), key=lambda item: -sum(span.seconds for span in item[1]))
    return tuple(
        Operator(
            name=name.removeprefix("aten::")[:NAME_CHARACTERS],
            share=_round(sum(span.seconds for span in spans) / recording.seconds),
            calls_per_s=_round(len(spans) / recording.seconds),
            roofline=_reached(spans, rates),
        )
        for name, spans in order[:SHOWN_OPERATORS]
    )


def roofline(recording: Recording, work: Cost | None, rates: Machine | None) -> float | None:
    """Share of the best possible time in the steps' time, launches left out where operators were traced."""
    if work is None or rates is None or not recording.steps:
        return None
    taken = length(covered(recording.steps)) * (1 - (launch_bound(recording) or 0.0))
    known = [step for step in recording.steps if step.rows]
    if not known or not taken:
        return None
    least = sum(
        prefill_s(work, rates, step.rows) if step.name == "prefill" else step_s(work, rates, step.rows)
        for step in known
    )
    return min(1.0, least / taken * len(recording.steps) / len(known))


def rows(recording: Recording) -> float | None:
    """Mean streams of a decoding step; None where no step says."""
    known = [step.rows for step in recording.of("decode") if step.rows]
    return sum(known) / len(known) if known else None


def occupancy(recording: Recording, answers: Sequence[Answer]) -> tuple[float, ...]:
    """Streams in a decoding step over eighths of the time; by the client's own clock where steps do not say."""
    known = [step for step in recording.of("decode") if step.rows]
    if known:
        low, each = recording.window[0], recording.seconds / PARTS
        parts = [
            [step.rows for step in known if low + n * each <= step.start < low + (n + 1) * each] for n in range(PARTS)
        ]
        return tuple(_round(sum(part) / len(part)) if part else 0.0 for part in parts)
    streams = list(_streams(answers))
    if not streams:
        return ()
    low, high = min(start for start, _ in streams), max(end for _, end in streams)
    each = max(high - low, 1e-9) / PARTS
    spans = [Span(start, end, "") for start, end in streams]
    found = []
    for number in range(PARTS):
        part = [(low + number * each, low + (number + 1) * each)]
        found.append(_round(sum(overlap(part, [(span.start, span.end)]) for span in spans) / each))
    return tuple(found)


def _streams(answers: Iterable[Answer]) -> Iterable[tuple[float, float]]:
    for answer in answers:
        times = [event.at_s for event in answer.events if event.tokens]
        if len(times) > 1:
            yield times[0], times[-1]


def _reached(spans: Sequence[Span], rates: Machine | None) -> float | None:
    """The best time of these products over what they took; None where an operand is not known."""
    if rates is None or not all(len(span.shapes) > 1 for span in spans):
        return None
    least = 0.0
    for span in spans:
        found = _product(span.shapes)
        if found is None:
            return None
        work, size = found
        least += max(work / rates.operations_per_s, size / rates.bytes_per_s)
    return _round(min(1.0, least / max(sum(span.seconds for span in spans), 1e-12)))


def _product(shapes: Sequence[tuple[int, ...]]) -> tuple[float, float] | None:
    """Operations and bytes of a product: all rows of the left operand with a matrix, given either way round."""
    matrices = [shape for shape in shapes if len(shape) > 1]
    if len(matrices) < 2:
        return None
    left, right = matrices[:2]
    inner = left[-1]
    if inner not in right[-2:] or not inner:
        return None
    outer = right[-2] if right[-1] == inner else right[-1]
    count = _size(left) / inner
    work = 2 * count * inner * outer
    return work, ELEMENT_BYTES * (_size(left) + _size(right) + count * outer)


def _size(shape: Sequence[int]) -> float:
    total = 1.0
    for number in shape:
        total *= number
    return total


def _round(value: float) -> float:
    return float(f"{value:.3g}")
