"""What the machine was like: a fixed piece of work, its pressure and its clock, and what other programs took of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

LARGEST_DRIFT = 0.05
"""The canaries around the blocks of one quad may lie this far from their median; otherwise the quad is dropped."""
LARGEST_FOREIGN = 0.1
"""Other programs may take this much more of the machine during one block of a quad than during another."""

_SIDE = 448
_REPEATS = 24
_QUICKEST = 0.1
_PRESSURE = Path("/proc/pressure/cpu")
_CLOCKS = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")
_IDLE_FIELDS = (3, 4)
_COUNTED_FIELDS = 8


@dataclass(frozen=True, slots=True)
class MachineState:
    """One look: seconds of the canary, seconds that tasks have waited for a core since the start, clock in MHz."""

    at_s: float
    canary_s: float
    waited_s: float | None
    clock_mhz: float | None


def observe() -> MachineState:
    """Look at the machine; takes some tens of milliseconds, and nothing that is measured may run meanwhile."""
    return MachineState(time.monotonic(), canary_s(), waited_s(), clock_mhz())


def canary_s() -> float:
    """Seconds of one fixed matrix product on all cores.

    The tenth percentile of a few: a short burst of another program is the interleaving's to average out, and shows in
    the pressure; a machine that has become slower cannot do even a few of them at its earlier speed.
    """
    first, second, result = _matrices()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        np.matmul(first, second, out=result)
        times.append(time.perf_counter() - start)
    return float(np.quantile(times, _QUICKEST))


def waited_s(path: Path = _PRESSURE) -> float | None:
    """Seconds in which some task waited for a core, since the machine's start; None where the kernel does not say."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(field.split("=") for field in lines[0].split()[1:])
    return int(fields["total"]) / 1e6


def clock_mhz(folder: Path = _CLOCKS, cpuinfo: Path = _CPUINFO) -> float | None:
    """The slowest core's clock in MHz, None where the system does not say."""
    clocks = [int(path.read_text()) / 1000 for path in sorted(folder.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    if not clocks and cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return min(clocks, default=None)


def busy_s(path: Path = _STAT) -> float | None:
    """Seconds that all cores together have worked, or were lent to another guest, since the start; None where not said.

    To the kernel's tick, which is a hundredth of a second.
    """
    try:
        line = path.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(field) for field in line.split()[1 : 1 + _COUNTED_FIELDS]]
    working = sum(count for index, count in enumerate(ticks) if index not in _IDLE_FIELDS)
    return working / os.sysconf("SC_CLK_TCK")


def foreign_share(busy: float | None, own: float | None, wall_s: float) -> float:
    """The share of all cores that other programs took, from what was busy and what was our own; 0 when not known."""
    if busy is None or own is None or wall_s <= 0:
        return 0.0
    return max(0.0, busy - own) / (wall_s * (os.cpu_count() or 1))


def canary_drift(states: Sequence[MachineState]) -> float:
    """The largest distance of a canary from the median of these, as a share of it; 0 for none."""
    if not states:
        return 0.0
    middle = median(state.canary_s for state in states)
    return max(abs(state.canary_s / middle - 1) for state in states)


def pressure_share(states: Sequence[MachineState]) -> float | None:
    """The share of the time between first and last look in which some task waited for a core; None when not known."""
    if len(states) < 2 or states[0].waited_s is None or states[-1].waited_s is None:
        return None
    return (states[-1].waited_s - states[0].waited_s) / max(states[-1].at_s - states[0].at_s, 1e-9)


@cache
def _matrices() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    draws = np.random.default_rng(1)
    first, second = (draws.standard_normal((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))
    return first, second, np.empty((_SIDE, _SIDE), dtype=np.float32)
