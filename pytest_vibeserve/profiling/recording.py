"""Puts together what the hook and others have left in the folder of findings."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_vibeserve.profiling.chrome_trace import Trace, read_trace
from pytest_vibeserve.profiling.nsight import read_database
from pytest_vibeserve.profiling.spans import Recording, Span, clipped

PHASES = ("prefill", "decode")


def read_recording(folder: Path, concurrency: int, load: tuple[float, float]) -> Recording:
    """All findings of a pass; `load` is when it was loaded, which is the window where no operator was traced.

    Files that a candidate wrote itself count too: Chrome traces and Nsight's databases.  What cannot be read is noted.
    """
    told = [found for path in sorted(folder.glob("marks-*.json")) if (found := _read_marks(path))]
    clock = next((float(one["clock"]) for one in told), time.time() - time.monotonic())
    traces: list[Trace] = []
    notes: list[str] = []
    sources: set[str] = set()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.sqlite")]):
        if path.name.startswith("marks-"):
            continue
        kind = "nsys" if path.suffix == ".sqlite" else "torch" if path.name.startswith("torch-") else "trace"
        try:
            trace = read_database(path, clock) if kind == "nsys" else read_trace(path, clock, concurrency)
        except (OSError, ValueError, KeyError, TypeError) as error:
            notes.append(f"{path.name}: {error}"[:100])
            continue
        traces.append(trace)
        sources.add(kind)
    marked = [step for one in told for step in _marked(one["marks"], concurrency)]
    notes += [str(one["untraced"]) for one in told if one["untraced"] and not traces][:1]
    sources |= {"marks"} if marked else set()
    sources |= {"mlx"} if any(one["counters"] for one in told) else set()
    counters = {name: value for one in told for name, value in one["counters"].items()}
    made = Recording(load, sources=tuple(sorted(sources)), counters=counters, notes=tuple(notes))
    return _joined(made, traces, marked)


def _joined(made: Recording, traces: Sequence[Trace], marked: Sequence[Span]) -> Recording:
    """What candidates say of their phases is believed before what operators suggest."""
    busy = [trace for trace in traces if trace.operators or trace.kernels]
    if busy:
        window = min(trace.window[0] for trace in busy), max(trace.window[1] for trace in busy)
        made = replace(made, window=(max(window[0], made.window[0]), min(window[1], made.window[1])))
    steps = marked or [step for trace in busy for step in trace.steps]
    operators = [span for trace in busy for span in trace.operators]
    kernels = [span for trace in busy for span in trace.kernels]
    window = made.window
    return replace(
        made, steps=tuple(clipped(steps, window)), operators=tuple(clipped(operators, window)),
        kernels=tuple(clipped(kernels, window)),
    )  # fmt: skip


def _read_marks(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if {"clock", "marks", "untraced", "counters"} <= set(found) else None
    except (OSError, ValueError, TypeError):
        return None


def _marked(marks: Sequence[Sequence[Any]], concurrency: int) -> list[Span]:
    """Steps by the marks of each thread: of phases that lie in each other the inner one is left out."""
    begun: dict[Any, list[tuple[float, str, int]]] = {}
    found = []
    for at, thread, name, rows in marks:
        open_ = begun.setdefault(thread, [])
        if name:
            open_.append((float(at), str(name), int(rows)))
        elif open_:
            start, phase, count = open_.pop()
            if not open_:
                found.append(Span(start, float(at), _phase(phase, count, concurrency), count))
    return [span for span in found if span.name in PHASES]


def _phase(name: str, rows: int, concurrency: int) -> str:
    """MLX's evaluations say nothing of their rows: each is taken for a step of decoding."""
    if name in ("step", "eval"):
        return "prefill" if rows > concurrency else "decode"
    return name
