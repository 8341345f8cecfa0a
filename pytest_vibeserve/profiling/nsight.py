"""Reads what Nsight Systems exports as SQLite: kernels, copies, and the ranges that a program named by NVTX."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pytest_vibeserve.isolation.interpreter import SYSTEM
from pytest_vibeserve.profiling.chrome_trace import Trace
from pytest_vibeserve.profiling.hook import VARIABLE
from pytest_vibeserve.profiling.spans import Span

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
COPIES = "CUPTI_ACTIVITY_KIND_MEMCPY"
CALLS = "CUPTI_ACTIVITY_KIND_RUNTIME"
RANGES = "NVTX_EVENTS"
BEGAN = "TARGET_INFO_SESSION_START_TIME"
PHASES = ("prefill", "decode")


def read_database(path: Path, clock: float) -> Trace:
    """A `nsys export --type sqlite`; times there are nanoseconds since the session began.

    `clock` is seconds since 1970 less the monotonic clock.  ValueError when it is no such database; a table that a
    run had no use for is not there, and counts as empty.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        try:
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "StringIds" not in tables:
                raise ValueError(f"{path.name} has no table StringIds: it is no export of Nsight Systems")
            began = next(iter(base.execute(f"SELECT utcEpochNs FROM {BEGAN}")), (0,))[0] if BEGAN in tables else 0
            start = int(began) * 1e-9 - clock
            kernels = tuple(_kernels(base, tables, start))
            calls = tuple(_named(base, CALLS, "nameId", start)) if CALLS in tables else ()
            ranges = tuple(_ranges(base, start)) if RANGES in tables else ()
        except sqlite3.Error as error:
            raise ValueError(f"{path.name} cannot be read: {error}") from None
    every = (*kernels, *calls, *ranges)
    window = (min(s.start for s in every), max(s.end for s in every)) if every else (0.0, 0.0)
    return Trace(calls, ranges, kernels, window)


def _kernels(base: sqlite3.Connection, tables: set[str], began: float) -> Iterator[Span]:
    if KERNELS in tables:
        yield from _named(base, KERNELS, "shortName", began)
    if COPIES in tables:
        for start, end in base.execute(f"SELECT start, end FROM {COPIES}"):
            yield _span(start, end, "copy", began)


def _named(base: sqlite3.Connection, table: str, column: str, began: float) -> Iterator[Span]:
    asked = f"SELECT t.start, t.end, s.value FROM {table} t JOIN StringIds s ON s.id = t.{column}"
    for start, end, name in base.execute(asked):
        yield _span(start, end, str(name), began)


def _ranges(base: sqlite3.Connection, began: float) -> Iterator[Span]:
    """Ranges of which the name begins with a phase; the text stands in the row or among the strings."""
    asked = (
        f"SELECT n.start, n.end, COALESCE(n.text, s.value) FROM {RANGES} n LEFT JOIN StringIds s ON s.id = n.textId "
        "WHERE n.end IS NOT NULL"
    )
    for start, end, name in base.execute(asked):
        phase = next((phase for phase in PHASES if str(name).lower().startswith(phase)), None)
        if phase:
            yield _span(start, end, phase, began)


def _span(start: int, end: int, name: str, began: float) -> Span:
    return Span(start * 1e-9 + began, end * 1e-9 + began, name)


def nsight_command(backend: str) -> tuple[str, ...]:
    """The words before a candidate's command that record it, where the target is for CUDA and nsys is within its sight.

    The hook begins and ends the recording by the CUDA profiler's own calls, so that start-up is not in it.
    """
    program = shutil.which("nsys")
    if backend != "cuda" or program is None or why_no_nsight(backend):
        return ()
    words = ("profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none", "--export=sqlite")
    ranged = ("--capture-range=cudaProfilerApi", "--capture-range-end=stop", "--kill=none")
    return (program, *words, *ranged, f"--output=%q{{{VARIABLE}}}/nsys")


def why_no_nsight(backend: str) -> str:
    """What Nsight Systems needs to look at a candidate of this backend, in a line; "" where nothing is missing."""
    if backend != "cuda":
        return ""
    program = shutil.which("nsys")
    if program is None:
        return "no nsys on PATH: install Nsight Systems below /usr to see kernels and copies"
    if not Path(program).resolve().is_relative_to(SYSTEM):
        return f"nsys at {program} is out of a candidate's sight: install it below {SYSTEM}"
    return ""
