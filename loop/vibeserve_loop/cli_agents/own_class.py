"""An agent that is a class of the user's own: each session is a process of its own, so that it can be ended."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.cli_agents.leashed import GRACE_S
from vibeserve_loop.cli_agents.lenience import table
from vibeserve_loop.cli_agents.own_class_process import Errand
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.machine.processes import TETHER, ended_too
from vibeserve_loop.records import AgentChoice, AgentResult, Spend
from vibeserve_loop.resolve import find_class
from vibeserve_loop.roles import Agent, Brief, Desk
from vibeserve_loop.tool_loop.meter import RUNNING

MINUTES = 30.0
"""What a session may take unless its class says otherwise: `MINUTES = 90`."""
LONGEST_LINE = 8 * 2**20
LONGEST_LOG = 64 * 2**20
ENTRY = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from vibeserve_loop.cli_agents.own_class_process import main; main()"
)


@contextlib.contextmanager
def separated(choice: AgentChoice, agent: Agent, folder: Path, sessions: int) -> Iterator[Agent]:
    """The agent as it is, or what does its sessions elsewhere where it is a class of the user's own.

    `folder` is the run's; processes for so many sessions at once are begun at once, for each takes a moment to start.
    """
    if ":" not in choice.name:
        yield agent
        return
    with contextlib.closing(OwnClass(choice.name, choice.options, folder)) as found:
        found.begin(sessions)
        yield found


class OwnClass:
    """Does the sessions of a class in processes of its own, each with one object that lives as long as its process.

    Sessions one after the other are one object's; what hangs or dies takes its object along.
    """

    def __init__(self, name: str, options: tuple[tuple[str, str], ...], folder: Path) -> None:
        """Begin no process yet."""
        self._name, self._options, self._folder = name, options, folder
        self._idle: list[_Room] = []

    def begin(self, count: int) -> None:
        """Begin processes for so many sessions at once."""
        self._idle += [_Room(self._folder) for _ in range(count)]

    def close(self) -> None:
        """End every process."""
        while self._idle:
            self._idle.pop().end()

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; what hangs, or ends before it is done, costs the session with what it had told to have paid."""
        began, meter = time.monotonic(), RUNNING.get()
        minutes = float(getattr(find_class("agents", self._name), "MINUTES", MINUTES))
        errand = Errand(self._name, self._options, brief, desk.folder, desk.sandbox, desk.readable, meter)
        room = self._idle.pop() if self._idle else _Room(self._folder)
        try:
            found = room.carried(errand, desk, min(minutes * 60, brief.left.seconds, threading.TIMEOUT_MAX))
        except AgentStopped as stopped:
            told = meter.told() if meter else Spend()
            cost = spent(time.monotonic() - began, told.usd, told.tokens_in, told.tokens_out)
            return given_up(desk, stopped, Session(summary="", spend=cost))
        finally:
            if room.is_free:
                self._idle.append(room)
            else:
                room.end()
        return found


class _Room:
    """A process with pipes to talk through, gone with all its children when its lifeline closes, whoever closes it."""

    def __init__(self, folder: Path) -> None:
        lifeline, end = os.pipe()
        self._held = os.fdopen(end, "wb")
        # A loop that takes up the run finds the tether by the run's folder; the class works where the loop does.
        tether = (sys.executable, "-I", "-S", "-B", str(TETHER), "--lifeline", str(lifeline), "--grace", GRACE_S)
        there = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', os.getcwd())
        self._process = subprocess.Popen(
            [*tether, *there, sys.executable, "-P", "-c", ENTRY, json.dumps([*map(str, sys.path)])],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(lifeline,), start_new_session=True,
        )  # fmt: skip
        os.close(lifeline)
        self.is_free = True

    def end(self) -> None:
        """End the process, and wait until it is gone."""
        self._held.close()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert stream is not None
                stream.close()

    def carried(self, errand: Errand, desk: Desk, limit_s: float) -> AgentResult:
        """One session here; AgentStopped where it came to no end, after which the room is not free any more."""
        try:
            words = pickle.dumps(errand)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            why = f"agent {errand.name} works in a process of its own, where its sandbox cannot be: {error}"
            raise UsageError(why) from None
        self.is_free, late = False, threading.Event()

        def over() -> None:
            late.set()
            self._held.close()

        timer = threading.Timer(limit_s, over)
        timer.daemon = True
        timer.start()
        try:
            with ended_too(self._held.close):
                told = _heard(self._process, words, desk)
        finally:
            timer.cancel()
        if late.is_set():
            raise AgentStopped("hung", f"it did not end within {limit_s / 60:.3g} minutes")
        if told is None:
            self._held.close()
            code = self._process.wait()
            raise AgentStopped("died", f"its process ended with {code} before it was done")
        self.is_free = True
        return _ended(told, desk)


def _heard(process: subprocess.Popen[bytes], words: bytes, desk: Desk) -> Mapping[str, Any] | None:
    """Do what the session asks for until it is done, and what it told then; None when its process ended before."""
    assert process.stdin is not None
    assert process.stdout is not None
    logged = 0
    try:
        process.stdin.write(words)
        process.stdin.flush()
        while line := process.stdout.readline(LONGEST_LINE):
            told = _told(line)
            if "restore" in told:
                desk.restore()
                process.stdin.write(b"\n")
                process.stdin.flush()
            elif "log" in told:
                logged += len(line)
                if logged > LONGEST_LOG:
                    raise AgentStopped("flooded", f"it logged more than {LONGEST_LOG >> 20} MiB")
                desk.log(told["log"])
            else:
                return told
    except BrokenPipeError:
        return None
    return None


def _ended(told: Mapping[str, Any], desk: Desk) -> AgentResult:
    if "usage" in told:
        raise UsageError(str(told["usage"]))
    if "infrastructure" in told:
        raise InfrastructureError(str(told["infrastructure"]))
    if "died" in told:
        desk.log(str(told.get("traceback", "")).rstrip())
        raise AgentStopped("died", str(told["died"]))
    return AgentResult.model_validate_json(str(told.get("done")))


def _told(line: bytes) -> Mapping[str, Any]:
    try:
        return table(json.loads(line))
    except (ValueError, RecursionError):
        raise AgentStopped("garbage", f"its process says what is no answer: {line[:100]!r}") from None
