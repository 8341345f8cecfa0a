"""The profiled pass: the candidate is started once more with the hook, loaded for a few seconds, and looked at."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_vibeserve.bench import Bench
from pytest_vibeserve.blocks import Runner
from pytest_vibeserve.ceiling import cost
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.drafts import Draft, sent
from pytest_vibeserve.errors import CandidateFailure, Inconclusive, InfrastructureError
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.isolation.view import FINDINGS
from pytest_vibeserve.loads import Load
from pytest_vibeserve.machine_rates import machine
from pytest_vibeserve.profiling import hook, shares
from pytest_vibeserve.profiling.hypotheses import Evidence, hypotheses
from pytest_vibeserve.profiling.nsight import why_no_nsight
from pytest_vibeserve.profiling.recording import read_recording
from pytest_vibeserve.profiling.spans import Recording, covered, length
from pytest_vibeserve.profiling.stacks import Stacks, sampled
from pytest_vibeserve.profiling.threads import Looks, looking
from pytest_vibeserve.server import Server

LOADED_S = 2.5
"""So long the server is loaded: the profiler needs a moment to begin, and looks for `hook.TRACED_S` after it."""
WRITING_S = 20.0
WARM_UP_TOKENS = 4
LARGEST = 2048
"""Bytes of an insight as JSON."""
SHOWN_FUNCTIONS = 4


@dataclass(frozen=True, slots=True)
class _Pass:
    """What one pass saw."""

    recording: Recording
    looks: Looks
    stacks: Stacks
    answers: tuple[Answer, ...]


def insight(bench: Bench, load: Load) -> Insight:
    """What the candidate does at a load, from a pass of its own; a pass that fails says so and costs nobody a verdict.

    Whoever calls this has nothing else running: the candidate's measured server sleeps meanwhile.
    """
    began = time.monotonic()
    try:
        found = _passed(bench, load)
    except (CandidateFailure, InfrastructureError, Inconclusive) as failure:
        told = f"the profiled pass did not come to an end: {failure}"[:200]
        return Insight(load=load.name, seconds=0.0, took_s=_since(began), notes=(told,))
    return _small(_distilled(bench, load, found).model_copy(update={"took_s": _since(began)}))


def _passed(bench: Bench, load: Load) -> _Pass:
    with tempfile.TemporaryDirectory(prefix="vibeserve-hook-") as place:
        control, spied = Path(place) / "hook", Path(place) / "stacks"
        control.mkdir(mode=0o755)
        spied.mkdir()
        shutil.copy(hook.__file__, control / "sitecustomize.py")
        (control / "sitecustomize.py").chmod(0o644)
        with bench.relaunched(bench.contract.model, control) as inner:
            server = inner.server
            assert isinstance(server, Server)
            draft = _draft(bench, inner, load)
            (control / "begin").touch()
            begun = time.monotonic()
            with looking(server.root) as looks, sampled(server.root, spied) as stacks:
                traffic, answers = sent(inner, load, draft, LOADED_S)
            (control / "end").touch()
            findings = server.temporary / FINDINGS
            _await_findings(findings)
            # Whether the server still lives is looked at for a moment after the load: that is no part of it.
            start = traffic.start_s or begun
            recording = read_recording(findings, load.concurrency, (start, start + traffic.wall_s))
        return _Pass(recording, looks, stacks, answers)


def _draft(bench: Bench, inner: Bench, load: Load) -> Draft:
    """Requests for longer than the server is loaded, so that it is as full at the end as in the middle; all warm.

    What is not answered when the time is over is left unanswered.  How many fit is known from what was measured.
    """
    runner = Runner(inner, load)
    known = bench.observed.get(load.name)
    if known is None:
        runner.warm_up()
        return runner.draft(max(load.concurrency, round(runner.count * LOADED_S / max(runner.block_s, 0.1))))
    short = [replace(request, max_tokens=WARM_UP_TOKENS) for request in inner.fresh("warm-up", 2)]
    inner.ask(short, concurrency=2)
    answers = sum(len(block.answers) for block in known.blocks)
    return runner.draft(load.concurrency + round(answers / known.wall_s * LOADED_S))


def _await_findings(folder: Path) -> None:
    """Wait until every process that reported for duty has written, or is not going to."""
    deadline = time.monotonic() + WRITING_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            names = {path.name for path in folder.iterdir()}
            here = {name.removeprefix("here-") for name in names if name.startswith("here-")}
            if all(f"marks-{pid}.json" in names for pid in here):
                return
        if not folder.exists():
            return
        time.sleep(0.05)


def _distilled(bench: Bench, load: Load, found: _Pass) -> Insight:
    recording, stacks = found.recording, found.stacks
    target = bench.target
    is_text = target.modality in ("text", "chat-json")
    work = cost(bench.contract.model) if is_text else None
    rates = machine(target.hardware.backend, work.weight_bytes) if work else None
    divided = shares.wall(recording, found.looks)
    busy = _busy(recording, found, target.hardware.backend)
    seen = Evidence(recording, divided, stacks, busy, load.concurrency, work, rates)
    promising, gains = hypotheses(seen)
    leaves = stacks.leaves.most_common(SHOWN_FUNCTIONS)
    sources = (*recording.sources, *(("py-spy",) if stacks.total else ()))
    absent = (why_no_nsight(target.hardware.backend), stacks.why_not)
    notes = (*recording.notes, *(why for why in absent if why))
    peak = recording.counters.get("peak_memory")
    return Insight(
        load=load.name, seconds=round(recording.seconds, 2), sources=sources,
        prefill=_short(divided.prefill), decode=_short(divided.decode), host=_short(divided.host),
        idle=_short(divided.idle), busy=_short(busy), launch_bound=_short(shares.launch_bound(recording)),
        gaps=shares.gaps(recording, found.looks, stacks), operators=shares.operators(recording, rates),
        functions=tuple((name[:60], round(count / stacks.total, 3)) for name, count in leaves),
        occupancy=shares.occupancy(recording, found.answers), gains=gains, hypotheses=promising,
        memory_mb=_short(peak / 1e6) if peak is not None else None, notes=tuple(note[:120] for note in notes[:3]),
    )  # fmt: skip


def _busy(recording: Recording, found: _Pass, backend: str) -> float | None:
    if backend == "cpu":
        return found.looks.busy(recording.window, os.cpu_count() or 1)
    return length(covered(recording.kernels)) / recording.seconds if recording.kernels else None


def _small(found: Insight) -> Insight:
    """The same in at most LARGEST bytes: the least telling of each list goes first."""
    lists = ("functions", "operators", "gaps", "notes", "gains", "hypotheses")
    turn = 0
    while len(found.model_dump_json().encode()) > LARGEST:
        name = lists[turn % len(lists)]
        found = found.model_copy(update={name: getattr(found, name)[:-1]})
        turn += 1
    return found


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
