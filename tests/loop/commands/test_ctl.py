from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest
from loop_lab import Lab, faster


@pytest.fixture
def busy(lab: Lab) -> Lab:
    """A run has enough to do, and its gates take a moment."""
    (lab.target / "slow").write_text("0.2")
    for name in ("a", "b", "c", "d"):
        lab.skill(name, faster(1.5), relieves="step-overhead")
    return lab


def _until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    for _ in range(1500):
        if happened():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def _start(lab: Lab) -> subprocess.Popen[str]:
    process = lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7")
    _until(process, lambda: any(lab.folder.glob("runs/*/rounds.jsonl")))
    return process


def _kinds(lab: Lab) -> list[str]:
    return [r["task"]["kind"] for r in lab.rounds()]


def test_a_run_pauses_and_goes_on(busy: Lab) -> None:
    process = _start(busy)
    assert f"the loop (process {process.pid}) takes it in" in busy.call("ctl", "pause").stdout
    _until(process, lambda: "order" in _kinds(busy))
    before = _kinds(busy)
    time.sleep(1.0)
    assert _kinds(busy) == before
    assert busy.call("ctl", busy.latest.name, "resume").returncode == 0
    assert process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert _kinds(busy)[-1] == "final"


def test_stop_ends_the_run_after_the_round_and_resume_goes_on(busy: Lab) -> None:
    process = _start(busy)
    busy.call("ctl", "stop")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped as ordered; to go on: vibeserve-loop resume" in errors
    assert _kinds(busy)[-1] == "order"
    assert busy.call("resume").returncode == 0
    assert _kinds(busy)[-1] == "final"


def test_what_stands_when_a_run_is_stopped_is_told_and_called_unconfirmed(busy: Lab) -> None:
    process = busy.start("run", "lab", *busy.gate, "--sandbox", "none", "--seed", "7", "--json")
    _until(process, lambda: any(b'"kind":"work"' in p.read_bytes() for p in busy.folder.glob("runs/*/rounds.jsonl")))
    busy.call("ctl", "stop")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    kept = [r["round"] for r in busy.rounds() if r["task"]["kind"] == "work" and r["decision"]["ruling"] == "accept"]
    told = f"The run was stopped; round {kept[-1]} stands at x{1.5 ** len(kept):.2f}"
    end = json.loads(output.splitlines()[-1])
    for words in (end["verdict"], end["page"], (busy.latest / "SUMMARY.md").read_text()):
        assert told in words
        assert "by its gate, not confirmed" in words
        assert "Nothing better than the starter" not in words
    again = busy.call("resume", "--max-rounds", "0")
    assert again.returncode == 0, again.stderr
    assert "The winner is round" in again.stdout
    assert "not confirmed" not in again.stdout


def test_stop_now_cuts_the_round_short(busy: Lab) -> None:
    (busy.target / "slow").write_text("30")
    process = busy.start("run", "lab", *busy.gate, "--sandbox", "none", "--seed", "7")
    _until(process, lambda: any(busy.folder.glob("runs/*/rounds/0000/gate.log")))
    told = busy.call("ctl", "stop", "--now")
    assert "told to stop at once" in told.stdout
    process.communicate(timeout=30)
    assert process.returncode == 2
    assert busy.latest.joinpath("orders.jsonl").read_text().count("stop") == 1


def test_an_interrupted_run_leaves_its_account(busy: Lab) -> None:
    process = _start(busy)
    _until(process, lambda: any(b'"kind":"work"' in p.read_bytes() for p in busy.folder.glob("runs/*/rounds.jsonl")))
    busy.call("ctl", "stop", "--now")
    process.communicate(timeout=30)
    page = (busy.latest / "SUMMARY.md").read_text()
    assert "The run was interrupted; round" in page
    assert "sessions of agents for" in page


def test_budgets_change_while_a_run_goes_on(busy: Lab) -> None:
    process = _start(busy)
    assert busy.call("ctl", "budget", "--max-rounds", "1").returncode == 0
    process.communicate(timeout=60)
    rounds = busy.rounds()
    orders = [r for r in rounds if r["task"]["kind"] == "order"]
    assert orders[0]["decision"]["reason"] == "budget max_rounds 1"
    judged = [r for r in rounds if r["task"]["kind"] == "work"]
    assert len(judged) <= 2
    assert busy.call("resume", "--max-rounds", "3").returncode == 0
    assert len([r for r in busy.rounds() if r["task"]["kind"] == "work"]) == 3


def test_what_a_person_says_is_in_every_later_brief(busy: Lab) -> None:
    process = _start(busy)
    assert busy.call("ctl", "steer", "look at the tokenizer").returncode == 0
    process.communicate(timeout=60)
    order = next(r["round"] for r in busy.rounds() if r["task"]["kind"] == "order")
    later = [p for p in busy.latest.glob("rounds/*/brief.md") if int(p.parent.name) > order]
    assert later
    assert all("- look at the tokenizer" in path.read_text() for path in later)


def test_an_order_to_a_run_that_nobody_works_on_waits_for_resume(lab: Lab) -> None:
    lab.run()
    done = lab.call("ctl", "steer", "later")
    assert "no loop is at work" in done.stdout
    assert lab.call("resume").returncode == 0
    assert _kinds(lab)[-1] == "order"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("budget",), "give --max-rounds, --max-hours, --max-usd or --max-tokens"),
        (("budget", "--max-rounds", "1.5"), "give a whole number, 0 or more, or `none`"),
        (("budget", "--max-hours", "soon"), "give a number, 0 or more, or `none`"),
        (("pause", "--run", "nothing"), "no run is called 'nothing'"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(lab: Lab, words: tuple[str, ...], said: str) -> None:
    lab.run()
    done = lab.call("ctl", *words)
    assert done.returncode == 4
    assert said in done.stderr


def test_a_torn_order_is_dropped_and_the_next_one_counts(lab: Lab) -> None:
    lab.run()
    lab.call("ctl", "steer", "first")
    with (lab.latest / "orders.jsonl").open("ab") as stream:
        stream.write(b'{"verb": "ste')
    lab.call("ctl", "steer", "second")
    lines = [json.loads(line)["text"] for line in (lab.latest / "orders.jsonl").read_text().splitlines()]
    assert lines == ["first", "second"]
