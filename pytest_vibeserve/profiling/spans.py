"""What was going on when, in seconds of the monotonic clock, whoever wrote it down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["prefill", "decode"]
Dimensions = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Something with a beginning and an end; `rows` are the tokens of a step, `shapes` the operands of a product."""

    start: float
    end: float
    name: str
    rows: int = 0
    shapes: Dimensions = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Recording:
    """All that one pass recorded: the model's steps by phase, operators without any below them, a device's kernels.

    `window` is the time that the operators, or else the steps, speak of; `notes` say what could not be seen.
    """

    window: tuple[float, float]
    steps: tuple[Span, ...] = ()
    operators: tuple[Span, ...] = ()
    kernels: tuple[Span, ...] = ()
    sources: tuple[str, ...] = ()
    counters: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return max(self.window[1] - self.window[0], 1e-9)

    def of(self, phase: str) -> tuple[Span, ...]:
        """The steps of one phase."""
        return tuple(step for step in self.steps if step.name == phase)


def clipped(spans: Iterable[Span], window: tuple[float, float]) -> list[Span]:
    """Those spans that lie in the window by more than half."""
    low, high = window
    return [span for span in spans if low <= (span.start + span.end) / 2 <= high]


def covered(spans: Iterable[Span]) -> list[tuple[float, float]]:
    """The union of spans as intervals in ascending order that do not touch."""
    merged: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda one: one.start):
        if merged and span.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.end))
        else:
            merged.append((span.start, span.end))
    return merged


def length(intervals: Sequence[tuple[float, float]]) -> float:
    """Seconds that such intervals hold."""
    return sum(end - start for start, end in intervals)


def overlap(ones: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> float:
    """Seconds that lie in both of two unions."""
    total, place = 0.0, 0
    for start, end in ones:
        while place < len(others) and others[place][1] <= start:
            place += 1
        at = place
        while at < len(others) and others[at][0] < end:
            total += min(end, others[at][1]) - max(start, others[at][0])
            at += 1
    return total
