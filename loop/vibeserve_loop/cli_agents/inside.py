"""The inside of a session of a class of the user's own: its process, which tells the loop a line of JSON each."""

from __future__ import annotations

import json
import os
import pickle
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
from vibeserve_loop.roles import Brief, Desk, Sandbox
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
    """Do the one session that standard input names; what the agent prints goes to standard error."""
    told, heard = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    errand, line = pickle.load(heard), Line(told, heard)
    RUNNING.set(errand.meter)
    try:
        found = attempted(lambda: _done(errand, line))
    except UsageError as error:
        line.tell(usage=str(error))
    except VibeserveError as error:
        line.tell(infrastructure=str(error))
    else:
        if isinstance(found, Stumble):
            line.tell(died=found.reason, traceback=found.traceback)
        else:
            line.tell(done=recorded(found.value))


def _done(errand: Errand, line: Line) -> AgentResult:
    agent = resolve.find_class("agents", errand.name)(**dict(errand.options))
    desk = Desk(errand.folder, errand.sandbox, line.restore, line.log, errand.readable)
    return sound(agent.work(errand.brief, desk), secrets_of(os.environ))
