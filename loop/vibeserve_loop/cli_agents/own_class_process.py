"""The inside of the process of a class of the user's own: session after session, told of in lines of JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pytest_vibeserve.errors import UsageError, VibeserveError
from vibeserve_loop import resolve
from vibeserve_loop.desk.attendance import recorded, sound
from vibeserve_loop.desk.secrecy import secrets_of
from vibeserve_loop.foreign import Stumble, attempted
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Agent, Brief, Desk, Sandbox
from vibeserve_loop.tool_loop.meter import RUNNING, Meter

LONGEST_WORDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Errand:
    """What one session is begun with; the loop's own part of the desk is asked for over the line."""

    name: str
    options: tuple[tuple[str, str], ...]
    brief: Brief
    folder: Path
    sandbox: Sandbox
    readable: tuple[Path, ...]
    meter: Meter | None


class Line:
    """The line to the loop; several threads of an agent may use it."""

    def __init__(self, told: BinaryIO, heard: BinaryIO) -> None:
        """Take both directions."""
        self._told, self._heard, self._one = told, heard, threading.Lock()

    def tell(self, **words: str) -> None:
        """Tell one thing."""
        with self._one:
            self._write(words)

    def log(self, line: object) -> None:
        """Have a line logged."""
        self.tell(log=str(line)[:LONGEST_WORDS])

    def restore(self) -> None:
        """Have the base's code put back, and wait until it is."""
        with self._one:
            self._write({"restore": ""})
            self._heard.readline()

    def _write(self, words: dict[str, str]) -> None:
        self._told.write(json.dumps(words).encode() + b"\n")
        self._told.flush()


def main() -> None:
    """Do the sessions that standard input names, by one object; what the agent prints goes to standard error."""
    told, heard = os.fdopen(os.dup(1), "wb"), io.BufferedReader(io.FileIO(os.dup(0)))
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    agents, line = list[Agent](), Line(told, heard)
    while heard.peek(1):
        errand = pickle.load(heard)
        RUNNING.set(errand.meter)
        words = _carried(errand, agents, line)
        _end_what_is_left()
        line.tell(**words)


def _carried(errand: Errand, agents: list[Agent], line: Line) -> dict[str, str]:
    """What is to be told of a session."""
    try:
        found = attempted(lambda: _done(errand, agents, line))
    except UsageError as error:
        return {"usage": str(error)}
    except VibeserveError as error:
        return {"infrastructure": str(error)}
    if isinstance(found, Stumble):
        return {"died": found.reason, "traceback": found.traceback}
    return {"done": recorded(found.value)}


def _done(errand: Errand, agents: list[Agent], line: Line) -> AgentResult:
    if not agents:
        agents.append(resolve.find_class("agents", errand.name)(**dict(errand.options)))
    desk = Desk(errand.folder, errand.sandbox, line.restore, line.log, errand.readable)
    return sound(agents[0].work(errand.brief, desk), secrets_of(os.environ))


def _end_what_is_left() -> None:
    """Kill the processes that a session has left behind: this one's children, and orphans that the tether adopted."""
    own = os.getpid()
    while left := [pid for parent in (own, os.getppid()) for pid in _children(parent) if pid != own]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children(parent: int) -> list[int]:
    try:
        parts = [path.read_text() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    except FileNotFoundError:
        return []
    return [int(word) for part in parts for word in part.split()]
