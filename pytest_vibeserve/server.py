"""A candidate that serves: started, waited for, watched, stopped with nothing left of it."""

from __future__ import annotations

import signal
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pytest_vibeserve.build import CODE_FOLDER, build, check_program, freeze
from pytest_vibeserve.candidate import Candidate
from pytest_vibeserve.errors import CandidateFailure, InfrastructureError
from pytest_vibeserve.external import ExternalServer
from pytest_vibeserve.isolation import processes
from pytest_vibeserve.isolation.errand import Errand, Event
from pytest_vibeserve.isolation.interpreter import offered
from pytest_vibeserve.isolation.levels import NAMESPACED, errand, level_for, places
from pytest_vibeserve.isolation.network import HOST, listeners
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import View, resolved, scratch
from pytest_vibeserve.log import Log
from pytest_vibeserve.machine_state import busy_s, foreign_share
from pytest_vibeserve.shared_server import SharedServer
from pytest_vibeserve.source_tree import remove_tree, tree_digest

__all__ = ["ExternalServer", "Launch", "Server", "free_port"]

_PORT = 8000
_TRIES = 3
"""Starts, where another program took the port or the machine meanwhile."""
_STARVED = 0.5
"""Share of all cores that other programs took while a candidate was not ready in time, for which it is not to blame."""
_GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How a candidate is started: longest start (seconds), memory limit (GiB, None for none), its log, and isolation.

    `isolation` is one of `levels.WISHES`: "auto" is the best level here, "strict" that or InfrastructureError.
    `hook` is a folder that the profiled pass shows to it, `wrapper` the words of a profiler before its command.
    """

    startup_s: float
    memory_gib: float | None
    log: Path
    isolation: str = "auto"
    hook: Path | None = None
    wrapper: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Start:
    """How a start went: where it listens, how it is kept apart, seconds until ready, digest of what is served."""

    port: int
    isolation: str
    startup_s: float
    digest: str


class Server:
    """A running candidate; `netns_pid` is a process in its network namespace, None where it shares the host's."""

    def __init__(self, run: Supervised, log: Path, start: _Start) -> None:
        self._run = run
        self._digest = start.digest
        self._used_s = 0.0
        self._leftovers: tuple[str, ...] | None = None
        self.host = HOST
        self.port = start.port
        self.netns_pid = run.root if start.isolation in NAMESPACED else None
        self.isolation = start.isolation
        self.log = log
        self.startup_s = start.startup_s

    @classmethod
    def start(cls, candidate: Candidate, model: Path, *, launch: Launch) -> Self:
        """Freeze, build, start and wait until ready; CandidateFailure says what the candidate did instead."""
        level = level_for(launch.isolation, model)
        memory = int((launch.memory_gib or 0) * 2**30)
        with ExitStack() as undo:
            private = Path(tempfile.mkdtemp(prefix="vibeserve-")).resolve()
            undo.callback(remove_tree, private)
            view = View(freeze(candidate, private), None, private, memory, writable=True)
            log = Log(launch.log)
            if candidate.build is not None:
                build(candidate.build, level, view, log)
            view = replace(view, model=model.resolve(), writable=False, hook=launch.hook)
            server = cls._served(candidate, level, view, launch, log)
            undo.pop_all()
        return server

    @classmethod
    def _served(cls, candidate: Candidate, level: str, view: View, launch: Launch, log: Log) -> Self:
        limit = min(launch.startup_s, candidate.serve.startup_timeout_s or launch.startup_s)
        digest = tree_digest(view.code)
        failure: Exception = InfrastructureError(
            f"{_TRIES} free ports were each taken by another program before the candidate"
        )
        for _ in range(_TRIES):
            port = _PORT if level in NAMESPACED else free_port()
            asked = replace(_errand(candidate, level, view, port, log, launch.wrapper), ready_within_s=limit)
            begun, busy = time.monotonic(), busy_s()
            with ExitStack() as undo:
                run = undo.enter_context(Supervised(asked))
                event = run.wait_for({"ready", "unready", "ended", "broken"}, limit + _GRACE_S)
                stranger = level not in NAMESPACED and bool(listeners(port) - processes.sockets_below(run.root))
                if event is not None and event.name == "ready" and not stranger:
                    undo.pop_all()
                    return cls(run, log.path, _Start(port, level, time.monotonic() - begun, digest))
                starved = event is not None and event.name == "unready" and _starved(run, busy, begun)
                run.let_go(keep=True)
            if starved:
                failure = _failure(event, candidate, limit, log)
            elif level in NAMESPACED or not (stranger or _taken(port)):
                raise _failure(event, candidate, limit, log)
        raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def shared(self) -> SharedServer:
        """The same server for another process of this user."""
        return SharedServer(self.host, self.port, self.netns_pid, self.isolation, self._run.root)

    @property
    def root(self) -> int:
        """The process below which all of its processes are."""
        return self._run.root

    @property
    def temporary(self) -> Path:
        """Where this process finds the candidate's own temporary folder."""
        if self.isolation in NAMESPACED:
            return Path(f"/proc/{self._run.root}/root{scratch()}")
        return Path(self._run.errand.remove) / "tmp"

    def alive(self) -> bool:
        """Whether the candidate's main process still runs."""
        return self._leftovers is None and self._run.poll() is None

    def exit_status(self) -> int | None:
        """The status that the candidate ended with by itself, 128 + N for signal N, or None."""
        return None if self._run.ended is None else self._run.ended.status

    def end_reason(self) -> str:
        """Why the gate ended it, such as its memory; empty when it did not."""
        return "" if self._run.ended is None else self._run.ended.text

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes since its start, to the kernel's tick; the last known after its end."""
        if self.alive():
            self._used_s = max(self._used_s, processes.cpu_seconds(self._run.root))
        return self._used_s

    def memory_bytes(self) -> int:
        """Memory of all its processes, pages shared among them once; 0 after its end."""
        return processes.memory_bytes(self._run.root) if self.alive() else 0

    def pause(self) -> None:
        """Freeze all its processes where they are."""
        processes.stop_all(self._run.root)

    def resume(self) -> None:
        """Let all its processes go on."""
        processes.send(signal.SIGCONT, processes.below(self._run.root))

    def stop(self) -> tuple[str, ...]:
        """Kill it with all its children and remove the private copy.

        Names what survived, and the copy where it is no longer what was started; both should be nothing.
        """
        if self._leftovers is None:
            survivors, private = self._run.let_go(keep=True), Path(self._run.errand.remove)
            same = tree_digest(private / CODE_FOLDER) == self._digest
            self._leftovers = survivors if same else (*survivors, "its own files were changed while it served")
            remove_tree(private)
        return self._leftovers


def free_port() -> int:
    """A port of the host that nothing listens on at this moment."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _errand(candidate: Candidate, level: str, view: View, port: int, log: Log, wrapper: tuple[str, ...] = ()) -> Errand:
    code, model = places(level, view)
    command = resolved(candidate.serve.command_line(model, HOST, port), offered())
    check_program("serve.command", command[0], view.code, code)
    log.begin(f"serve: {' '.join(command)}")
    asked = errand(level, view, (*wrapper, *command), log.path)
    return replace(asked, port=port, route=candidate.serve.ready)


def _taken(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError:
            return True
        return False


def _starved(run: Supervised, busy: float | None, begun: float) -> bool:
    later = busy_s()
    worked = None if busy is None or later is None else later - busy
    return foreign_share(worked, processes.cpu_seconds(run.root), time.monotonic() - begun) > _STARVED


def _failure(event: Event | None, candidate: Candidate, limit: float, log: Log) -> Exception:
    said = log.tail()
    if event is None or event.name == "broken":
        why = "the supervisor fell silent" if event is None else event.text
        return InfrastructureError(f"the candidate could not be started: {why}\n{said}")
    if event.name == "ended":
        how = event.text or f"it ended with {event.status}"
        return CandidateFailure(
            "startup", f"before GET {candidate.serve.ready} was answered, {how}; its last lines:\n{said}", said
        )
    message = (
        f"GET {candidate.serve.ready} was not answered with 200 within {limit:g} seconds; at the last try {event.text}"
    )
    return CandidateFailure("startup", f"{message}; its last lines:\n{said}", said)
