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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.cli_agents.inside import Errand
from vibeserve_loop.cli_agents.leashed import GRACE_S
from vibeserve_loop.cli_agents.lenience import table
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.machine.processes import TETHER, ended_too
from vibeserve_loop.records import AgentChoice, AgentResult, Spend
from vibeserve_loop.resolve import find_class
from vibeserve_loop.roles import Agent, Brief, Desk
from vibeserve_loop.tool_loop.meter import RUNNING

MINUTES = 30.0
"""What a session may take unless its class says otherwise: `MINUTES = 90`."""
END_S = 5.0
LONGEST_LINE = 8 * 2**20
LONGEST_LOG = 64 * 2**20
ENTRY = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from vibeserve_loop.cli_agents.inside import main; main()"
)


def apart(choice: AgentChoice, agent: Agent) -> Agent:
    """The agent as it is, or what does its sessions elsewhere where it is a class of the user's own."""
    return Apart(choice.name, choice.options) if ":" in choice.name else agent


@dataclass(frozen=True, slots=True)
class Apart:
    """Does each session of a class in a new process, with a new object of it; nothing of it is left afterwards."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; what hangs, or ends before it is done, costs the session with what it had told to have paid."""
        began, meter = time.monotonic(), RUNNING.get()
        minutes = float(getattr(find_class("agents", self.name), "MINUTES", MINUTES))
        errand = Errand(self.name, self.options, brief, desk.folder, desk.sandbox, desk.readable, meter)
        try:
            return _carried(errand, desk, min(minutes * 60, brief.left.seconds, threading.TIMEOUT_MAX))
        except AgentStopped as stopped:
            told = meter.told() if meter else Spend()
            cost = spent(time.monotonic() - began, told.usd, told.tokens_in, told.tokens_out)
            return given_up(desk, stopped, Session(summary="", spend=cost))


def _carried(errand: Errand, desk: Desk, limit_s: float) -> AgentResult:
    try:
        words = pickle.dumps(errand)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise UsageError(
            f"agent {errand.name} works in a process of its own, where its sandbox cannot be: {error}"
        ) from None
    late = threading.Event()
    with _process(desk.folder, late, limit_s) as process:
        found = _heard(process, words, desk)
        if found is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
    if found is not None:
        return found
    if late.is_set():
        raise AgentStopped("hung", f"it did not end within {limit_s / 60:.3g} minutes")
    raise AgentStopped("died", f"its process ended with {process.returncode} before it was done")


@contextlib.contextmanager
def _process(folder: Path, late: threading.Event, limit_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process with pipes to talk through, gone with all its children at the limit, or when the block is left."""
    lifeline, end = os.pipe()
    with os.fdopen(end, "wb") as held:
        # A loop that takes up the run finds the tether by the run's folder; the class works where the loop does.
        tether = (sys.executable, "-I", "-S", "-B", str(TETHER), "--lifeline", str(lifeline), "--grace", GRACE_S)
        there = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', os.getcwd())
        process = subprocess.Popen(
            [*tether, *there, sys.executable, "-P", "-c", ENTRY, json.dumps([*map(str, sys.path)])],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(lifeline,), start_new_session=True,
        )  # fmt: skip
        os.close(lifeline)

        def over() -> None:
            late.set()
            held.close()

        timer = threading.Timer(limit_s, over)
        timer.daemon = True
        timer.start()
        try:
            with ended_too(held.close):
                yield process
        finally:
            timer.cancel()
            held.close()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    assert stream is not None
                    stream.close()


def _heard(process: subprocess.Popen[bytes], words: bytes, desk: Desk) -> AgentResult | None:
    """Do what the session asks for until it is done; None when its process ended before."""
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
                return _ended(told, desk)
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
