"""A candidate's server as seen by a process that did not start it: a worker beside the one that did."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from pytest_vibeserve.isolation import processes


@dataclass(frozen=True, slots=True)
class SharedServer:
    """An address, and the pid above all the server's processes (0 when they cannot be seen); starting and stopping
    stay with the owner.
    """

    host: str
    port: int
    netns_pid: int | None
    isolation: str
    root: int

    def alive(self) -> bool:
        """Whether any of its processes runs; a server whose processes cannot be seen is taken to be alive."""
        if not self.root:
            return True
        try:
            os.kill(self.root, 0)
        except ProcessLookupError:
            return False
        return bool(processes.below(self.root))

    def cpu_seconds(self) -> float | None:
        """CPU seconds of all its processes so far, None when they cannot be seen."""
        return processes.cpu_seconds(self.root) if self.root else None

    def memory_bytes(self) -> int | None:
        """Resident bytes of all its processes, None when they cannot be seen."""
        return processes.memory_bytes(self.root) if self.root else None

    def pause(self) -> None:
        """Freeze all its processes where they are."""
        processes.stop_all(self.root)

    def resume(self) -> None:
        """Let all its processes go on."""
        processes.send(signal.SIGCONT, processes.below(self.root))
