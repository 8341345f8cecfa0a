from __future__ import annotations

import json
import subprocess

import pytest
from loop_lab import Lab

FAILING = """
from vibeserve_loop.records import AgentResult

class FailingAgent:
    '''Works in its first rounds; after those each of its sessions fails.'''

    def __init__(self, good="0"):
        self.good = int(good)

    def work(self, brief, desk):
        if brief.number > self.good:
            return AgentResult(summary="nothing", failed="died: the model hung up")
        speed = desk.folder / "speed"
        speed.write_text(str(2 * float(speed.read_text())))
        return AgentResult(summary="twice as fast")
"""
NESTING = """
import subprocess
from vibeserve_loop.records import AgentResult

class NestingAgent:
    '''Puts its code into a repository of its own.'''

    def __init__(self, commits=""):
        self.commits = commits

    def work(self, brief, desk):
        inner = desk.folder / "inner"
        inner.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=inner, check=True)
        (inner / "kernel.c").write_text(f"/* {brief.number} */")
        if self.commits:
            who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
            for words in (("add", "-A"), (*who, "commit", "-qm", "mine")):
                subprocess.run(["git", *words], cwd=inner, check=True)
        (desk.folder / "speed").write_text("300")
        return AgentResult(summary="nested")
"""
FLOODING = """
import os, subprocess
from vibeserve_loop.records import AgentResult

class FloodingAgent:
    # Leaves more than anybody could take in, or better code.
    def work(self, brief, desk):
        (desk.folder / "speed").write_text("300")
        if brief.number == 1:
            os.truncate(desk.folder / "speed", 2**40)
        elif brief.number == 2:
            subprocess.run(["mkdir", "-p", "/".join("a" * 1500)], cwd=desk.folder, check=True)
        return AgentResult(summary="three times as fast")
"""


def _failing(lab: Lab, good: int, *words: str) -> subprocess.CompletedProcess[str]:
    (lab.folder / "failing.py").write_text(FAILING)
    return lab.run("--agent", f"failing:FailingAgent good={good}", *words)


def test_an_agent_that_fails_again_and_again_ends_the_search_and_what_was_found_is_confirmed(lab: Lab) -> None:
    done = _failing(lab, 2)
    assert done.returncode == 0, done.stderr
    kinds = [(r["task"]["kind"], r["decision"]["ruling"]) for r in lab.rounds()]
    assert kinds == [("starter", "accept"), *[("work", "accept")] * 2, *[("work", "void")] * 3, ("final", "accept")]
    page = (lab.latest / "SUMMARY.md").read_text()
    assert "The winner is round 2: x4.00" in page
    assert "The agent failed 3 times in a row, the last time in round 5: died: the model hung up" in page
    assert "gate.log" not in done.stderr


def test_where_every_session_failed_nothing_was_judged(lab: Lab) -> None:
    done = _failing(lab, 0, "--json")
    assert done.returncode == 5, done.stderr
    assert "No work was judged; the starter stands" in json.loads(done.stdout.splitlines()[-1])["verdict"]
    assert [r["task"]["kind"] for r in lab.rounds()] == ["starter", "work", "work", "work"]


@pytest.mark.parametrize("good", [0, 1])
def test_a_search_that_failed_is_taken_up_again_by_resume(lab: Lab, good: int) -> None:
    _failing(lab, good)
    source = (lab.folder / "failing.py").read_text()
    (lab.folder / "failing.py").write_text(source.replace("brief.number > self.good", "brief.number > 8"))
    before = len(lab.rounds())
    assert lab.call("resume", "--max-rounds", "3" if good else "1").returncode == 0
    later = [(r["task"]["kind"], r["decision"]["ruling"]) for r in lab.rounds()[before:]]
    assert ("work", "accept") in later
    assert later[-1] == ("final", "accept")


def test_sessions_side_by_side_that_fail_end_the_search_too(lab: Lab) -> None:
    done = _failing(lab, 1, "--workers", "2", "--device", "0")
    assert done.returncode == 0, done.stderr
    assert lab.rounds()[-1]["task"]["kind"] == "final"
    assert sum(r["task"]["kind"] == "work" for r in lab.rounds()) <= 6


def test_a_gate_that_breaks_down_leaves_the_account_of_what_was_found(lab: Lab) -> None:
    breaking = 'return AgentResult(summary="nothing", failed="died: the model hung up")'
    assert breaking in FAILING
    crash = "(desk.folder / 'crash').write_text(str(brief.number))"
    (lab.folder / "failing.py").write_text(FAILING.replace(breaking, crash))
    done = lab.run("--agent", "failing:FailingAgent good=1")
    assert done.returncode == 3
    assert "the machine is on fire" in done.stderr
    page = (lab.latest / "SUMMARY.md").read_text()
    assert "The run ended early" in page
    assert "round 1 stands at x2.00 [1.96, 2.04] over the starter by its gate, not confirmed" in page


@pytest.mark.parametrize("commits", ["", "yes"])
def test_a_repository_that_a_session_leaves_inside_hides_no_code(lab: Lab, commits: str) -> None:
    (lab.folder / "nesting.py").write_text(NESTING)
    done = lab.run("--agent", f"nesting:NestingAgent commits={commits}", "--max-rounds", "1")
    assert done.returncode == 0, done.stderr
    candidate = lab.latest / "rounds" / "0001" / "candidate"
    assert (candidate / "inner" / "kernel.c").read_text() == "/* 1 */"
    assert not (candidate / "inner" / ".git").exists()
    assert "taken away before the commit: inner/.git" in (lab.latest / "rounds" / "0001" / "agent.log").read_text()
    shown = subprocess.run(
        ["git", "-C", str(lab.latest / "workspace"), "ls-tree", "-r", "--name-only", "refs/vibeserve/rounds/1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "inner/kernel.c" in shown.stdout.splitlines()


@pytest.mark.parametrize("attributes", [False, True], ids=["plain", "by git"])
def test_what_nobody_could_take_in_costs_its_round_and_is_swept_away(lab: Lab, attributes: bool) -> None:
    (lab.folder / "flooding.py").write_text(FLOODING)
    if attributes:
        (lab.target / "starter" / ".gitattributes").write_text("")
    done = lab.run("--agent", "flooding:FloodingAgent", "--max-rounds", "1", "--max-attempts-per-issue", "9")
    assert done.returncode == 0, done.stderr
    rounds = lab.rounds()
    assert [r["decision"]["ruling"] for r in rounds] == ["accept", "void", "void", "accept", "accept"]
    assert rounds[1]["decision"]["reason"].startswith("flooded: the workspace holds 1048576 MiB or more")
    assert "more than 64 deep" in rounds[2]["decision"]["reason"]
    assert rounds[0]["tree"] == rounds[1]["tree"] == rounds[2]["tree"]
