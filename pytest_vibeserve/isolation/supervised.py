"""The gate's end of a supervisor: start an errand, hear what happens, let go."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.isolation import processes
from pytest_vibeserve.isolation.errand import Errand, Event
from pytest_vibeserve.isolation.supervisor import KEEP

_ROOT = Path(__file__).resolve().parent.parent.parent
_MAIN = "import sys; sys.path.insert(0, sys.argv[1]); from pytest_vibeserve.isolation.supervisor import main; main()"
_LET_GO_S = 15.0
_BLOCK = 1 << 16


class Supervised:
    """A command under a supervisor of its own; nothing of it outlives `let_go`, nor this process.

    `root` is the process below which all of the command's processes are (0 before it has started).
    """

    def __init__(self, errand: Errand) -> None:
        """Start the errand; what happens then is told by `next_event`."""
        self.errand = errand
        self.root = 0
        self.ended: Event | None = None
        self._lock = threading.Lock()
        self._unread = b""
        self._namespaces: list[int] = []
        theirs, self._control = os.pipe()
        self._events, their_events = os.pipe()
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _MAIN, str(_ROOT)],
            stdin=theirs,
            stdout=their_events,
            stderr=subprocess.PIPE,
            cwd="/",
            env={},
            start_new_session=True,
        )
        os.close(theirs)
        os.close(their_events)
        self._send(errand.to_line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def next_event(self, within_s: float) -> Event | None:
        """The next thing that happens, or None after that many seconds; InfrastructureError: the supervisor broke."""
        deadline = time.monotonic() + within_s
        with self._lock:
            while b"\n" not in self._unread:
                if not select.select([self._events], [], [], max(deadline - time.monotonic(), 0.0))[0]:
                    return None
                data = os.read(self._events, _BLOCK)
                if not data:
                    raise InfrastructureError(f"the candidate's supervisor ended by itself{self._complaint()}")
                self._unread += data
            line, self._unread = self._unread.split(b"\n", 1)
            return self._noted(Event.from_line(line))

    def wait_for(self, names: set[str], within_s: float) -> Event | None:
        """The first event of one of those names, or None after that many seconds."""
        deadline = time.monotonic() + within_s
        while (event := self.next_event(max(deadline - time.monotonic(), 0.0))) is not None:
            if event.name in names:
                return event
        return None

    def poll(self) -> Event | None:
        """How the command ended, or None while it runs."""
        while self.ended is None and self.next_event(0) is not None:
            pass
        return self.ended

    def let_go(self, keep: bool = False) -> tuple[str, ...]:
        """Kill what still runs, remove the errand's folder unless `keep`, and name the processes that survived."""
        if self._control < 0:
            return ()
        known = {process.pid: process.started for process in processes.below(self._supervisor.pid)}
        if keep:
            self._send(KEEP)
        os.close(self._control)
        self._control = -1
        try:
            self._supervisor.wait(_LET_GO_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
        self._supervisor.communicate()
        os.close(self._events)
        return tuple(f"process {process.pid}" for process in self._survivors(known))

    def _send(self, data: bytes) -> None:
        # a supervisor that is gone is noticed by whoever waits for its events
        with suppress(BrokenPipeError):
            os.write(self._control, data)

    def _noted(self, event: Event) -> Event:
        if event.name == "started":
            self.root = event.pid if self.errand.isolated else self._supervisor.pid
            if self.errand.isolated:
                self._namespaces = processes.held_namespaces(event.pid)
        elif event.name in ("ended", "broken"):
            self.ended = event
        return event

    def _survivors(self, known: dict[int, int]) -> list[processes.Process]:
        table = processes.table().values()
        found = {p.pid: p for p in table if known.get(p.pid) == p.started and not p.ended}
        if self._namespaces:
            wanted = frozenset(os.fstat(held).st_ino for held in self._namespaces)
            found.update((process.pid, process) for process in processes.in_namespaces(wanted))
            while self._namespaces:
                os.close(self._namespaces.pop())
        if not self.errand.isolated:
            found.update((process.pid, process) for process in processes.marked(f"TMPDIR={self.errand.remove}"))
        return list(found.values())

    def _complaint(self) -> str:
        said = self._supervisor.communicate()[1].decode(errors="replace").strip()
        return f": {said.splitlines()[-1]}" if said else ""
