"""Which threads of a server run, looked at from outside at short intervals: for any language, without its help."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from pytest_vibeserve.isolation import processes

PERIOD_S = 0.01
RUNNING = (b"R", b"D")
LISTED_EVERY = 25


@dataclass(slots=True)
class Looks:
    """Moments of the monotonic clock, each with the number of threads that ran; nothing where there is no /proc."""

    moments: list[tuple[float, int]] = field(default_factory=list)

    def idle(self, window: tuple[float, float], within: Sequence[tuple[float, float]]) -> float | None:
        """Share of a window in which nothing ran and that lies in none of the intervals `within`; None unseen."""
        seen = [(at, running) for at, running in self.moments if window[0] <= at <= window[1]]
        if not seen:
            return None
        still = [at for at, running in seen if not running and not any(a <= at <= b for a, b in within)]
        return len(still) / len(seen)

    def busy(self, window: tuple[float, float], cores: int) -> float | None:
        """Share of all cores that running threads took in a window; None unseen."""
        seen = [min(running, cores) for at, running in self.moments if window[0] <= at <= window[1]]
        return sum(seen) / len(seen) / cores if seen else None


@contextmanager
def looking(root: int) -> Iterator[Looks]:
    """Look at all threads below a process for as long as the block lasts."""
    looks, over = Looks(), threading.Event()
    watcher = threading.Thread(target=_look, args=(root, looks, over), name="thread-states")
    if root and os.path.isdir("/proc/self/task"):
        watcher.start()
    try:
        yield looks
    finally:
        over.set()
        if watcher.ident is not None:
            watcher.join()


def _look(root: int, looks: Looks, over: threading.Event) -> None:
    files: list[str] = []
    count = 0
    while not over.wait(PERIOD_S):
        if count % LISTED_EVERY == 0:
            files = list(_files(root))
        count += 1
        running = sum(_runs(file) for file in files)
        looks.moments.append((time.monotonic(), running))


def _files(root: int) -> Iterator[str]:
    for process in processes.below(root):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield from (f"/proc/{process.pid}/task/{name}/stat" for name in os.listdir(f"/proc/{process.pid}/task"))


def _runs(file: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError), open(file, "rb") as stat:
        return stat.read().rpartition(b")")[2].split(None, 1)[0] in RUNNING
    return False
