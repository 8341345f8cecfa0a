"""Reads Chrome traces as torch.profiler writes them, and finds the model's steps in the operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from pytest_vibeserve.profiling.spans import Dimensions, Span

PRODUCTS = frozenset(
    f"aten::{name}" for name in ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "_scaled_mm")
) | {"mkldnn::_linear_pointwise"}
LOOKED_UP = "aten::embedding"
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
ON_HOST = ("cpu_op", "user_annotation")


@dataclass(frozen=True, slots=True)
class Trace:
    """Leaf operators, each thread's steps as far as they can be told, kernels, and the time they speak of."""

    operators: tuple[Span, ...]
    steps: tuple[Span, ...]
    kernels: tuple[Span, ...]
    window: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Event:
    span: Span
    category: str
    thread: Any
    link: int


def read_trace(path: Path, clock: float, concurrency: int) -> Trace:
    """A trace; `clock` is seconds since 1970 less the monotonic clock.  ValueError when it is no Chrome trace.

    A step is what lies between a look-up of embeddings and the last product before the next one, as in every
    decoder.  More tokens than `concurrency`, or several of one sequence, make it prefill.
    """
    table = orjson.loads(path.read_bytes())
    found = table.get("traceEvents") if isinstance(table, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"{path.name} has no list traceEvents")
    base = int(table.get("baseTimeNanoseconds", 0)) * 1e-9 - clock
    threads: dict[Any, list[_Event]] = defaultdict(list)
    kernels: list[_Event] = []
    for event in _events(found, base):
        (kernels if event.category in ON_DEVICE else threads[event.thread]).append(event)
    leaves, steps, linked = [], [], {}
    for events in threads.values():
        events.sort(key=lambda event: (event.span.start, -event.span.end))
        leaves += list(_leaves(events))
        linked.update({event.link: event.span.shapes for event in events if event.span.name in PRODUCTS})
        steps += list(_steps([event.span for event in events], concurrency))
    on_device = tuple(replace(event.span, shapes=linked.get(event.link, ())) for event in kernels)
    return Trace(tuple(leaves), tuple(steps), on_device, _window([*leaves, *on_device]))


def _window(spans: Sequence[Span]) -> tuple[float, float]:
    """The time that most of the spans lie in: a profiler that begins or ends stalls a server, and that is not its own.

    One in two hundred is left out at either end.
    """
    if not spans:
        return 0.0, 0.0
    out = len(spans) // 200
    starts, ends = sorted(span.start for span in spans), sorted(span.end for span in spans)
    return starts[out], ends[-1 - out]


def _events(found: Sequence[Mapping[str, Any]], base: float) -> Iterator[_Event]:
    for one in found:
        category = one.get("cat")
        if one.get("ph") != "X" or category not in (*ON_HOST, *ON_DEVICE):
            continue
        said = one.get("args", {})
        if said.get("finished") is False:
            continue  # It was cut off by the profiler's end, which it then waited for.
        name = str(one["name"])
        # Of a hundred thousand operators a few need their operands, and reading them would take most of the time.
        shapes = _shapes(said.get("Input Dims")) if name in PRODUCTS or name == LOOKED_UP else ()
        start = float(one["ts"]) * 1e-6 + base
        span = Span(start, start + float(one.get("dur", 0)) * 1e-6, name, shapes=shapes)
        yield _Event(span, category, one.get("tid"), int(said.get("External id", -1)))


def _shapes(said: Any) -> Dimensions:
    if not isinstance(said, list):
        return ()
    return tuple(tuple(one) if isinstance(one, list) and all(isinstance(n, int) for n in one) else () for one in said)


def _leaves(events: Sequence[_Event]) -> Iterator[Span]:
    """Whole products, and of all others those operators that call no other; events by their start.

    A product may compute by itself beside what it calls, so that what it calls is not all of it.
    """
    until = 0.0
    for place, event in enumerate(events):
        span = event.span
        if event.category != "cpu_op" or span.start < until:
            continue
        following = events[place + 1].span if place + 1 < len(events) else None
        if span.name in PRODUCTS:
            until = span.end
            yield span
        elif following is None or following.start >= span.end:
            yield replace(span, shapes=())


def _steps(spans: Sequence[Span], concurrency: int) -> Iterator[Span]:
    begun: Span | None = None
    ends = 0.0
    for span in spans:
        if span.name == LOOKED_UP:
            if begun is not None and ends > begun.end:
                yield _step(begun, ends, concurrency)
            begun, ends = span, 0.0
        elif span.name in PRODUCTS:
            ends = max(ends, span.end)


def _step(begun: Span, end: float, concurrency: int) -> Span:
    indices = begun.shapes[1] if len(begun.shapes) > 1 else ()
    rows = 1
    for size in indices:
        rows *= size
    several = len(indices) > 1 and indices[-1] > 1
    return Span(begun.start, end, "prefill" if several or rows > concurrency else "decode", rows)
