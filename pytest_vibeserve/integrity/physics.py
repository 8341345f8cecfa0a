"""Whether the machine can have done the work that the answers need: bounds that no honest server gets near."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pytest_vibeserve.integrity.run import Run, Work
from pytest_vibeserve.report import Check

MATRIX = 512
TRIALS = 12
LEAST_WORK = 0.5
"""Share of the arithmetic's CPU seconds that must have been used: the rate may be off on a busy machine."""

EIGHT_BIT = 4.0
"""How many times faster eight-bit products may be than those of 16 and 32 bits that the rate was taken with."""

FASTEST = 1.5
"""How far above the speed of light a sample may lie before it is no accident of measuring that speed."""

SOONEST = 0.5
"""Share of its prompt's arithmetic that a first token must have taken."""

DEFERRED = 0.25
"""Share of a run's CPU seconds that may fall after its last answer."""

SPINNING_S = 0.25
"""Seconds that idle threads may spin before they sleep, by their libraries' defaults (0.2 s)."""

QUIET = 0.15
WINDOW_S, WINDOWS, UNCHANGING = 0.25, 16, 3


@cache
def operations_per_cpu_s() -> float:
    """Operations a CPU second in matrix products of 16 or 32 bits; by CPU time, which others' work leaves alone."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return max(_rate(torch.ones(MATRIX, MATRIX, dtype=dtype)) for dtype in (torch.bfloat16, torch.float32))
    finally:
        torch.set_num_threads(threads)


def dense_work(model: Path, operations_per_token: int) -> Work | None:
    """What a token of this model costs on this machine; None for a mixture of experts, of which a token meets a few."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if any("expert" in name for name in config):
        return None
    return Work(operations_per_token, operations_per_cpu_s(), os.cpu_count() or 1)


def settled_cpu_s(cpu_seconds: Callable[[], float | None], idle_rate: float = 0.0) -> float | None:
    """CPU seconds beyond its idle rate that a server uses after the last answer until it rests (4 s at most).

    None when they cannot be seen.
    """
    spent = _windows(cpu_seconds, idle_rate)
    return None if spent is None else sum(max(0.0, used - idle_rate * WINDOW_S) for used in spent)


def idle_rate(cpu_seconds: Callable[[], float | None]) -> float:
    """CPU seconds a second of a server that has nothing to do; asked for early, when all there was is answered.

    A server that never rests spins: what it then uses at the end, for as long as it stays the same, is its idle rate.
    """
    spent = _windows(cpu_seconds, 0.0) or [0.0]
    return min(spent[-UNCHANGING:]) / WINDOW_S


def _windows(cpu_seconds: Callable[[], float | None], rate: float) -> list[float] | None:
    spent: list[float] = []
    before = cpu_seconds()
    while before is not None and len(spent) < WINDOWS:
        time.sleep(WINDOW_S)
        now = cpu_seconds()
        if now is None:
            return None
        spent.append(now - before)
        before = now
        if spent[-1] < (QUIET + rate) * WINDOW_S:
            break
    return None if before is None else spent


def deferred(run: Run) -> Check:
    """Work after the last answer is charged to the run: it may not be a great part of it."""
    name = "physics.after-work"
    if run.cpu_s is None or run.cpu_after_s is None or not run.blocks:
        return Check(name=name, result="skip", detail=f"{run.name}: the server's CPU time after it was not looked at")
    cores = run.work.cores if run.work else 1
    block_s = run.cpu_s / len(run.blocks)
    late = max(0.0, run.cpu_after_s - SPINNING_S * cores)
    share = late / max(block_s, 1e-6)
    return Check(
        name=name, result="fail" if share > DEFERRED else "pass", statistic=share, threshold=DEFERRED, unit="share",
        detail=f"{run.name}: {run.cpu_after_s:.2f} CPU seconds after the last answer, {block_s:.2f} in a block; "
        f"{SPINNING_S * cores:.2f} of them may be threads that spin",
    )  # fmt: skip


def worked(run: Run, quantization: bool) -> Check:
    """The server's CPU seconds cover a fair part of the model's arithmetic for what was asked."""
    name, work = "physics.cpu-seconds", run.work
    if work is None or run.cpu_s is None:
        return Check(name=name, result="skip", detail=_unknown(run))
    needed = work.cpu_s(sum(run.new_tokens)) / (EIGHT_BIT if quantization else 1)
    share = run.cpu_s / needed if needed else math.inf
    enough = share >= LEAST_WORK
    return Check(
        name=name, result="pass" if enough else "fail", statistic=min(share, 1e6), threshold=LEAST_WORK, unit="x",
        detail=f"{run.name}: {run.cpu_s:.3f} CPU seconds for arithmetic that takes {needed:.3f} at "
        f"{work.operations_per_cpu_s / 1e9:.0f} Gop/s",
    )  # fmt: skip


def below_light(run: Run, quantization: bool) -> Check:
    """No block yields more tokens than all cores can compute; drafts save reading weights and not arithmetic."""
    name, work = "physics.throughput", run.work
    if work is None or not run.blocks:
        return Check(name=name, result="skip", detail=_unknown(run))
    faster = EIGHT_BIT if quantization else 1
    largest = max(
        work.cpu_s(tokens) / work.cores / faster / max(block.wall_s, 1e-6)
        for block, tokens in zip(run.blocks, run.new_tokens, strict=True)
    )
    return Check(
        name=name, result="fail" if largest > FASTEST else "pass", statistic=largest, threshold=FASTEST, unit="x",
        detail=f"{run.name}: the fastest block did {largest:.3f} of the arithmetic that {work.cores} cores can do",
    )  # fmt: skip


def prefilled(run: Run, quantization: bool) -> Check:
    """No first token comes before its prompt can have been computed."""
    name, work = "physics.first-token", run.work
    if work is None:
        return Check(name=name, result="skip", detail=_unknown(run))
    faster = work.cores * (EIGHT_BIT if quantization else 1)
    waits = [
        (answer.events[0].at_s - answer.sent_s) / (work.cpu_s(run.new_prompt(answer)) / faster)
        for answer in run.answers
        if answer.request.stream and answer.events and run.new_prompt(answer)
    ]
    soonest = min(waits, default=math.inf)
    return Check(
        name=name, result="fail" if soonest < SOONEST else "pass", statistic=min(soonest, 1e6), threshold=SOONEST,
        unit="x", detail=f"{run.name}: the soonest first token took {min(soonest, 1e6):.1f} times its arithmetic",
    )  # fmt: skip


def _rate(square: object) -> float:
    import torch

    assert isinstance(square, torch.Tensor)
    best = math.inf
    for _ in range(TRIALS):
        start = time.thread_time()
        square @ square
        best = min(best, time.thread_time() - start)
    return float(2 * MATRIX**3 / max(best, 1e-9))


def _unknown(run: Run) -> str:
    return f"{run.name}: the arithmetic of tokens alone is not known, or is not seen on this machine's CPU"
