"""A class of the user's own in a process of its own: whatever it does, the loop goes on and nothing of it is left."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from agent_lab import brief
from loop_lab import Lab

from vibeserve_loop.cli_agents.own_class import OwnClass
from vibeserve_loop.desk.endings import Session
from vibeserve_loop.roles import Desk, Left
from vibeserve_loop.sandboxes.none import NoneSandbox
from vibeserve_loop.tool_loop.meter import metered

WAYS = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Job
from vibeserve_loop.tool_loop.limits import Account, Limits
from vibeserve_loop.tool_loop.prices import Price, Tokens

class Way:
    MINUTES = 1

    def __init__(self, way=""):
        self.way = way

    def work(self, brief, desk):
        way = self.way or {1: "leaves", 2: "dies", 3: "floods"}.get(brief.number, "works")
        desk.log(f"way {way}")
        (desk.folder / "speed").write_text("300")
        getattr(self, way)(desk)
        return AgentResult(summary=way)

    def works(self, desk):
        print("not for the loop's own output")
        desk.restore()
        before = (desk.folder / "speed").read_text()
        (desk.folder / "speed").write_text(str(2 * float(before)))
        desk.log(desk.sandbox.run(Job(("echo", "in", os.getcwd()), desk.folder)).output.strip())
        subprocess.Popen(["sleep", "4321"], cwd=desk.folder, start_new_session=True)
        threading.Thread(target=time.sleep, args=(0.1,)).start()

    def leaves(self, desk):
        os._exit(0)

    def dies(self, desk):
        os.kill(os.getpid(), signal.SIGKILL)

    def floods(self, desk):
        while True:
            desk.log("x" * 900_000)

    def hangs(self, desk):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Account(Limits(), Price(1_000_000, 0, 0, 0)).charge(Tokens(input=2))
        while True:
            time.sleep(1)
"""


@pytest.mark.parametrize("given", ["limit of its own", "what is left of the run"])
def test_a_session_that_hangs_is_ended_and_what_it_had_paid_is_counted(
    given: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = given == "limit of its own"
    (lab.folder / "ways.py").write_text(WAYS.replace("MINUTES = 1", "MINUTES = 0.07") if own else WAYS)
    monkeypatch.syspath_prepend(lab.folder)
    monkeypatch.delitem(__import__("sys").modules, "ways", raising=False)
    place, lines, restored = lab.folder / "run" / "workspace", list[str](), list[int]()
    place.mkdir(parents=True)
    desk = Desk(place, NoneSandbox(), restore=lambda: restored.append(1), log=lines.append)
    asked = replace(brief(lab.folder), left=Left() if own else Left(seconds=4.2))
    with metered(lab.folder), closing(OwnClass("ways:Way", (("way", "hangs"),), place.parent)) as agent:
        found = agent.work(asked, desk)
    assert isinstance(found, Session)
    assert found.failed == "hung: it did not end within 0.07 minutes"
    assert (found.spend.usd, found.spend.tokens_in, restored) == (2.0, 2, [1])
    assert lines[0] == "way hangs"


def test_whatever_becomes_of_its_process_costs_a_round_and_the_run_goes_on(lab: Lab) -> None:
    (lab.folder / "ways.py").write_text(WAYS)
    done = lab.run("--agent", "ways:Way", "--max-rounds", "1", "--max-attempts-per-issue", "9", "--json")
    rounds = lab.rounds()
    assert [r["decision"]["ruling"] for r in rounds[:3]] == ["accept", "void", "void"], done.stderr
    assert rounds[1]["decision"]["reason"] == "died: its process ended with 0 before it was done"
    assert rounds[2]["decision"]["reason"] == "died: its process ended with 137 before it was done"
    assert rounds[3]["decision"]["reason"] == "flooded: it logged more than 64 MiB"
    # Three sessions that failed in a row end the search.
    assert done.returncode == 5
    assert lab.call("resume", "--max-rounds", "1").returncode == 0
    work = lab.rounds()[5]
    assert (work["decision"]["ruling"], work["work"]["summary"]) == ("accept", "works")
    log = (lab.latest / "rounds" / "0005" / "agent.log").read_text()
    assert log == f"way works\nin {lab.folder}\n"
    assert all(json.loads(line) for line in done.stdout.splitlines())
    assert not _asleep(lab.latest)


COUNTING = """
from vibeserve_loop.records import AgentResult

class Counting:
    def __init__(self):
        self.sessions = 0

    def work(self, brief, desk):
        self.sessions += 1
        (desk.folder / "speed").write_text(str(100 * 2 ** self.sessions))
        return AgentResult(summary=f"session {self.sessions}")
"""


def test_sessions_one_after_the_other_are_one_objects(lab: Lab) -> None:
    (lab.folder / "counting.py").write_text(COUNTING)
    assert lab.run("--agent", "counting:Counting", "--max-rounds", "3").returncode == 0
    assert [r["work"]["summary"] for r in lab.rounds() if r["work"]] == ["session 1", "session 2", "session 3"]


def _asleep(run: Path) -> list[str]:
    """The processes that were left to sleep in the run's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes() == b"sleep\x004321\0" and (path / "cwd").resolve().is_relative_to(run):
                found.append(path.name)
        except OSError:
            continue
    return found
