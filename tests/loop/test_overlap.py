from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from loop_lab import Lab

SLEEPER = '''
import pathlib, time
from vibeserve_loop.records import AgentResult

class SleeperAgent:
    """Sleeps as long as the file `naps` says for this round, notes that it was there, and sets a speed of its own."""

    def __init__(self, same="0"):
        self.same = int(same)

    def work(self, brief, desk):
        with open("notes", "a") as stream:
            stream.write(f"{brief.number} {desk.folder.parent.name}\\n")
        naps = [float(nap) for nap in pathlib.Path("naps").read_text().split(",")]
        time.sleep(naps[brief.number % len(naps)])
        number = 1 if self.same else brief.number
        base = float((desk.folder / "speed").read_text())
        (desk.folder / "speed").write_text(str(base * (1 + number / 10 if number % 2 else 0.5 + number / 1000)))
        return AgentResult(summary=f"speed {number}", techniques=(f"t{brief.number}",))
'''


@pytest.fixture
def sleepers(lab: Lab) -> Lab:
    (lab.folder / "sleeper.py").write_text(SLEEPER)
    _naps(lab, "0")
    return lab


def _naps(lab: Lab, seconds: str) -> None:
    (lab.folder / "naps").write_text(seconds)


def _worked(lab: Lab) -> list[list[str]]:
    return [line.split() for line in (lab.folder / "notes").read_text().splitlines()]


def _words(*more: str, workers: int = 3, rounds: int = 6) -> list[str]:
    given = ["--agent", " ".join(["sleeper:SleeperAgent", *more])]
    return [*given, "--workers", str(workers), "--max-rounds", str(rounds), "--device", "0"]


def _started(lab: Lab, rounds: int) -> subprocess.Popen[str]:
    words = _words(rounds=rounds)
    return lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", *words)


def _substance(lab: Lab) -> list[dict[str, Any]]:
    found = lab.rounds()
    for record in found:
        for name in ("started", "wall_s", "elapsed_s", "commit"):
            record.pop(name)
        record["task"].pop("agent")
        if record["work"]:
            record["work"].pop("spend")
        if record["assessment"]:
            record["assessment"].pop("command"), record["assessment"].pop("wall_s")
            if record["assessment"]["comparison"]:
                record["assessment"]["comparison"].pop("baseline")
    return found


def test_the_record_is_the_same_whoever_is_faster(sleepers: Lab) -> None:
    _naps(sleepers, "0.5,0,0.2")
    assert sleepers.run(*_words()).returncode == 0
    first = sleepers.latest
    _naps(sleepers, "0,0.4,0,0.3,0.1")
    assert sleepers.run(*_words()).returncode == 0
    assert sleepers.latest != first
    found = _substance(sleepers)
    assert [record["round"] for record in found] == list(range(8))
    assert [record["task"]["seen"] for record in found[1:7]] == [1, 1, 1, 2, 3, 4]
    assert len({record["tree"] for record in found[1:7]}) == 6
    other = [json.loads(line) for line in (first / "rounds.jsonl").read_text().splitlines()]
    keys = ("round", "tree", "decision")
    assert [[record[key] for key in keys] for record in other] == [[record[key] for key in keys] for record in found]
    briefs = [sorted(path.read_text() for path in run.glob("rounds/*/brief.md")) for run in (first, sleepers.latest)]
    assert [len(texts) for texts in briefs] == [6, 6]


def test_sessions_are_beside_each_other_and_gates_are_not(sleepers: Lab) -> None:
    _naps(sleepers, "0.3")
    assert sleepers.run(*_words()).returncode == 0
    assert {desk for _, desk in _worked(sleepers)} == {"0", "1", "2"}
    rounds = sleepers.rounds()[1:7]
    assert sum(record["elapsed_s"] for record in rounds) < sum(record["wall_s"] for record in rounds)


def test_code_that_an_earlier_round_had_is_refused_though_both_were_under_way(sleepers: Lab) -> None:
    assert sleepers.run(*_words("same=1", rounds=3)).returncode == 0
    first, *others = [record for record in sleepers.rounds() if record["task"]["kind"] == "work"]
    assert first["decision"]["ruling"] == "accept"
    twins = [record for record in others if record["tree"] == first["tree"]]
    assert twins
    for record in twins:
        assert record["assessment"] is None
        assert record["decision"]["ruling"] == "reject"
        assert record["decision"]["reason"].startswith("the same code as in round")


def test_what_came_to_its_end_before_a_kill_is_not_done_again(sleepers: Lab) -> None:
    _naps(sleepers, "0,60,0,0")
    process = _started(sleepers, rounds=3)
    until = time.monotonic() + 40
    while len(list(sleepers.folder.glob("runs/*/rounds/*/done.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    _naps(sleepers, "0")
    done = sleepers.call("resume")
    assert done.returncode == 0, done.stderr
    assert sorted(number for number, _ in _worked(sleepers)) == ["1", "1", "2", "3"]
    assert [record["round"] for record in sleepers.rounds()] == list(range(5))


def test_an_interrupt_ends_every_gate_and_a_resume_goes_on(sleepers: Lab) -> None:
    process = _started(sleepers, rounds=5)
    until = time.monotonic() + 40
    while not list(sleepers.folder.glob("runs/*/rounds/0002/brief.md")) and time.monotonic() < until:
        time.sleep(0.02)
    (sleepers.target / "slow").write_text("300")
    while not _alive(sleepers.folder) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "to go on" in errors
    assert not _alive(sleepers.folder)
    (sleepers.target / "slow").write_text("0")
    assert sleepers.call("resume").returncode == 0
    assert sum(record["task"]["kind"] == "work" for record in sleepers.rounds()) == 5


def test_an_order_is_taken_in_when_nothing_is_under_way(sleepers: Lab) -> None:
    _naps(sleepers, "1")
    process = _started(sleepers, rounds=30)
    until = time.monotonic() + 40
    while not list(sleepers.folder.glob("runs/*/rounds/0001/brief.md")) and time.monotonic() < until:
        time.sleep(0.05)
    assert sleepers.call("ctl", "stop").returncode == 0
    process.communicate(timeout=60)
    found = sleepers.rounds()
    assert found[-1]["task"]["kind"] == "order"
    assert 2 <= sum(record["task"]["kind"] == "work" for record in found) <= 9


SPENDER = """
import time
from vibeserve_loop.records import AgentResult, Spend

class SpenderAgent:
    # Spends all that it may, beside others that do the same.
    def work(self, brief, desk):
        time.sleep(0.5)
        (desk.folder / "speed").write_text(str(100 + brief.number))
        return AgentResult(summary="paid", spend=Spend(usd=brief.left.usd, tokens_in=int(brief.left.tokens)))
"""


def test_sessions_side_by_side_spend_no_more_than_the_run_may(lab: Lab) -> None:
    (lab.folder / "spender.py").write_text(SPENDER)
    words = ("--agent", "spender:SpenderAgent", "--workers", "3", "--max-rounds", "6", "--device", "0")
    done = lab.run(*words, "--max-usd", "6", "--max-tokens", "300")
    assert done.returncode in (0, 5), done.stderr
    spends = [record["work"]["spend"] for record in lab.rounds() if record["work"]]
    assert [(spend["usd"], spend["tokens_in"]) for spend in spends] == [(2.0, 100)] * 3
    shares = [record["task"]["share"] for record in lab.rounds() if record["work"]]
    assert shares == [{"usd": 2.0, "tokens": 100}] * 3


def test_a_hand_off_has_one_workspace_only(sleepers: Lab) -> None:
    done = sleepers.run("--agent", "handoff", "--workers", "2")
    assert done.returncode == 4
    assert "leave --workers out" in done.stderr


def _alive(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in words and "fake_gate" in words:
            found.append(words)
    return found
