"""Runs a command and watches what CPU time it and its children have taken so far (Linux)."""

from __future__ import annotations

import os
import subprocess
import threading
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PERIOD_S = 0.02


@dataclass(frozen=True)
class Metered:
    """How a command ended, and its CPU seconds over the monotonic clock."""

    status: int
    output: str
    errors: str
    samples: tuple[tuple[float, float], ...]

    def cpu_s(self, start: float, end: float) -> float:
        """CPU seconds between two moments, interpolated between samples."""
        return self._at(end) - self._at(start)

    def _at(self, moment: float) -> float:
        place = bisect_left(self.samples, (moment, 0.0))
        if place in (0, len(self.samples)):
            return self.samples[min(place, len(self.samples) - 1)][1]
        (before, low), (after, high) = self.samples[place - 1 : place + 1]
        return low + (high - low) * (moment - before) / (after - before)


def metered(command: list[str], environment: dict[str, str], folder: Path, timeout_s: float) -> Metered:
    """Run a command to its end; subprocess.TimeoutExpired when it takes longer."""
    samples: list[tuple[float, float]] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as process:
        over = threading.Event()

        def watch() -> None:
            while not over.wait(PERIOD_S):
                samples.append((monotonic(), _taken(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            over.set()
            watcher.join()
    # A process that has just gone takes its count with it: sums only rise.
    highest, risen = 0.0, []
    for at, taken in samples:
        highest = max(highest, taken)
        risen.append((at, highest))
    return Metered(process.returncode, output, errors, tuple(risen))


def _taken(pid: int) -> float:
    """CPU seconds of a process, its ended children and those that run; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) * TICK_S + sum(_taken(int(child)) for child in children)
