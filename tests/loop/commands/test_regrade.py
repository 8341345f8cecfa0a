from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from loop_lab import Lab, faster


@pytest.fixture
def done(lab: Lab) -> Lab:
    """A run that kept one technique and refused another."""
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("hasty", faster(9) + '(folder / "wrong").write_text("")\n', relieves="step-overhead")
    assert lab.run().returncode == 0
    return lab


def _agents_at_work(lab: Lab) -> list[Path]:
    return sorted(lab.latest.glob("rounds/*/agent.log"))


def test_stored_candidates_are_judged_again_without_any_agent(done: Lab) -> None:
    record, logs = (done.latest / "rounds.jsonl").read_bytes(), [p.stat().st_mtime_ns for p in _agents_at_work(done)]
    shutil.rmtree(done.folder / "skills")
    ended = done.call("regrade", *done.gate)
    assert ended.returncode == 0, ended.stderr
    assert "round 0: accepted before, accepted now" in ended.stdout
    assert "rejected before, rejected now" in ended.stdout
    assert "accepted before, accepted now, x3.00 [2.94, 3.06]" in ended.stdout
    assert (done.latest / "rounds.jsonl").read_bytes() == record
    assert [p.stat().st_mtime_ns for p in _agents_at_work(done)] == logs


def test_a_stricter_suite_is_told_from_the_one_of_the_run(done: Lab) -> None:
    stricter = done.folder / "stricter"
    shutil.copytree(done.target, stricter)
    objective = stricter / "OBJECTIVE.md"
    objective.write_text(objective.read_text() + "Faster than 200 is suspicious.\n")
    (stricter / "fastest").write_text("200")
    ended = done.call("regrade", "--target", str(stricter), "--json", *done.gate)
    assert ended.returncode == 1, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["now"] for line in lines if line["before"] == "accepted"] == ["accepted", "rejected"]
    kept = (done.latest / "regraded" / "0000" / "regrade.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines


def test_a_regrading_that_was_killed_goes_on_where_it_was(done: Lab) -> None:
    (done.target / "slow").write_text("0.5")
    process = done.start("regrade", *done.gate)
    lines = done.latest / "regraded" / "0000" / "regrade.jsonl"
    while process.poll() is None and not (lines.is_file() and b"\n" in lines.read_bytes()):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    kept = lines.read_bytes()
    judged = (lines.parent / "0000" / "report.json").stat().st_mtime_ns
    assert kept.count(b"\n") > 0
    ended = done.call("regrade", *done.gate)
    assert ended.returncode == 0, ended.stderr
    assert lines.read_bytes().startswith(kept)
    judged_rounds = [json.loads(line)["round"] for line in lines.read_bytes().splitlines()]
    assert judged_rounds == list(range(len(judged_rounds)))
    assert ended.stdout.count("before, ") == len(judged_rounds) > kept.count(b"\n")
    assert (lines.parent / "0000" / "report.json").stat().st_mtime_ns == judged
    assert done.call("regrade", *done.gate).returncode == 0
    assert (done.latest / "regraded" / "0001" / "regrade.jsonl").is_file()


def test_a_run_without_a_starter_has_nothing_to_judge_again(lab: Lab) -> None:
    (lab.target / "starter" / "wrong").write_text("")
    lab.run()
    ended = lab.call("regrade", *lab.gate)
    assert ended.returncode == 4
    assert "has no accepted starter" in ended.stderr


def test_a_second_regrading_at_the_same_time_is_refused(done: Lab) -> None:
    (done.target / "slow").write_text("1")
    process = done.start("regrade", *done.gate)
    while process.poll() is None and not (done.latest / "regraded" / "0000" / "asked.json").is_file():
        time.sleep(0.01)
    second = done.call("regrade", *done.gate)
    output, errors = process.communicate(timeout=60)
    assert second.returncode == 4
    assert f"another regrading (process {process.pid}) is at work in {done.latest}" in second.stderr
    assert process.returncode == 0, errors
    assert output.count("before, ") == len((done.latest / "regraded/0000/regrade.jsonl").read_text().splitlines())
    assert not (done.latest / "regraded" / "0001").exists()
