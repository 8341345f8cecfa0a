from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from broker_lab import CHECKOUT
from loop_lab import Lab

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.commands.submit import submit_to
from vibeserve_loop.desk.handover import Handover

SUBMIT = "import sys; from vibeserve_loop.commands.submit import submit; submit(sys.argv[1:])"


def _waiting(lab: Lab, run: subprocess.Popen[str], number: int) -> Handover:
    until = time.monotonic() + 40
    while time.monotonic() < until and run.poll() is None:
        for file in lab.folder.glob("runs/*/handoff/waiting.json"):
            handover = Handover(file.parent.parent / "workspace")
            if f'"round":{number}' in file.read_text():
                return handover
        time.sleep(0.05)
    raise AssertionError(run.communicate(timeout=10))


def _submitted(lab: Lab, *words: str) -> str:
    paths = {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'loop'}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", SUBMIT, *words], cwd=lab.folder, env=paths, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_person_edits_and_hands_in(lab: Lab) -> None:
    words = ("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--agent", "handoff")
    run = lab.start(*words)
    handover = _waiting(lab, run, 1)
    assert "Serve the lab's model." in handover.brief.read_text()
    workspace = Path(handover.waiting().workspace)
    assert (workspace / "AGENTS.md").is_file()
    (workspace / "speed").write_text("300")
    assert "round 1 goes on" in _submitted(lab, "--from", str(workspace), "--summary", "three times as fast")
    _waiting(lab, run, 2)
    _submitted(lab, "--nothing")
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    work = [record for record in lab.rounds() if record["work"]]
    assert work[0]["work"]["summary"] == "three times as fast"
    assert work[0]["decision"]["ruling"] == "accept"
    assert not (workspace / "AGENTS.md").exists()
    assert "300" in output


def test_a_folder_made_elsewhere_can_be_handed_in(lab: Lab, tmp_path: Path) -> None:
    run = lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--agent", "handoff", "--max-rounds", "1")
    _waiting(lab, run, 1)
    other = tmp_path / "other"
    other.mkdir()
    for file in (lab.target / "starter").iterdir():
        (other / file.name).write_text(file.read_text())
    (other / "speed").write_text("500")
    _submitted(lab, "--from", str(other), "--summary", "rewritten")
    run.communicate(timeout=60)
    assert lab.rounds()[1]["assessment"]["comparison"]["gain"] == 5


def test_nothing_can_be_handed_in_where_nothing_waits(lab: Lab) -> None:
    assert lab.run("--max-rounds", "0").returncode == 0
    with pytest.raises(UsageError, match="nothing waits for edits"):
        submit_to(None, lab.folder / "runs", "done", None, nothing=False)


def test_a_round_for_which_nobody_hands_in_is_void(lab: Lab) -> None:
    option = ("--agent-option", "max_hours=0.0001")
    lab.run("--agent", "handoff", *option, "--max-rounds", "1")
    work = [record for record in lab.rounds() if record["work"]]
    assert {record["decision"]["ruling"] for record in work} == {"void"}
    assert "nobody handed in anything" in work[0]["work"]["failed"]
    assert (lab.latest / "handoff" / "left-0001" / "speed").read_text() == "100"


def _handed_off(lab: Lab) -> tuple[subprocess.Popen[str], Handover, Path]:
    """A run that waits for edits in its first round, some of which have been made."""
    words = ("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7", "--agent", "handoff", "--max-rounds", "1")
    run = lab.start(*words)
    handover = _waiting(lab, run, 1)
    workspace = Path(handover.waiting().workspace)
    while not (workspace / "AGENTS.md").exists():
        time.sleep(0.01)
    (workspace / "speed").write_text("300")
    (workspace / "new").mkdir()
    (workspace / "new" / "kernel.c").write_text("/* begun */")
    return run, handover, workspace


def _round_again(lab: Lab, run: subprocess.Popen[str], number: int, laid: Path) -> None:
    """Wait until the brief of a round is out and the edits are back, after which kept.json goes."""
    _waiting(lab, run, number)
    kept = lab.latest / "handoff" / "kept.json"
    until = time.monotonic() + 20
    while (kept.exists() or not laid.exists()) and time.monotonic() < until:
        time.sleep(0.05)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_edits_outlive_the_loop_that_waited_for_them(lab: Lab, end: signal.Signals) -> None:
    run, handover, workspace = _handed_off(lab)
    for number in range(2):
        run.send_signal(end)
        run.communicate(timeout=30)
        assert (workspace / "speed").read_text() == "300"
        run = lab.start("resume")
        _round_again(lab, run, 1, workspace / "AGENTS.md")
        assert (workspace / "speed").read_text() == "300"
        assert (workspace / "new" / "kernel.c").read_text() == "/* begun */"
        assert not (handover.folder / "kept.json").exists(), number
    _submitted(lab, "--summary", "three times as fast")
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert lab.rounds()[1]["assessment"]["comparison"]["gain"] == 3
    candidate = lab.latest / "rounds" / "0001" / "candidate"
    assert sorted(path.name for path in candidate.iterdir()) == ["candidate.toml", "new", "server.py", "speed"]


def test_what_is_handed_in_while_no_loop_lives_is_kept_and_taken_by_resume(lab: Lab) -> None:
    run, _, workspace = _handed_off(lab)
    run.kill()
    run.communicate()
    assert "no loop is at work, `vibeserve-loop resume` takes it" in _submitted(lab, "--summary", "quicker")
    (workspace / "speed").write_text("spoiled afterwards")
    done = lab.call("resume")
    assert done.returncode == 0, done.stderr
    work = lab.rounds()[1]
    assert (work["work"]["summary"], work["assessment"]["comparison"]["gain"]) == ("quicker", 3)


def test_edits_are_laid_out_again_behind_an_order(lab: Lab) -> None:
    run, _, workspace = _handed_off(lab)
    run.kill()
    run.communicate()
    run = lab.start("resume", "--max-rounds", "2")
    _round_again(lab, run, 2, workspace / "AGENTS.md")
    assert (workspace / "speed").read_text() == "300"
    _submitted(lab, "--summary", "quicker")
    _waiting(lab, run, 3)
    assert not (workspace / "kernel.c").exists()
    _submitted(lab, "--nothing")
    run.communicate(timeout=60)
    assert [r["decision"]["ruling"] for r in lab.rounds() if r["task"]["kind"] == "work"] == ["accept", "void"]


def test_a_loop_that_is_killed_after_the_hand_in_takes_it_again(lab: Lab) -> None:
    run, handover, _ = _handed_off(lab)
    (lab.target / "slow").write_text("30")
    _submitted(lab, "--summary", "quicker")
    until = time.monotonic() + 30
    while not list(lab.latest.glob("rounds/0001/gate.log")) and time.monotonic() < until:
        time.sleep(0.05)
    run.kill()
    run.communicate()
    (lab.target / "slow").unlink()
    with pytest.raises(UsageError, match="nothing waits for edits"):
        handover.waiting()
    done = lab.call("resume")
    assert done.returncode == 0, done.stderr
    assert lab.rounds()[1]["assessment"]["comparison"]["gain"] == 3


def test_resume_waits_for_what_a_killed_loop_had_started(lab: Lab) -> None:
    """A recipe that does not heed its end goes on for the tether's grace; nothing is laid out under its hands."""
    body = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
for number in range(200):
    (folder / "speed").write_text(str(1000 + number))
    time.sleep(0.05)
"""
    lab.skill("stubborn", body, relieves="step-overhead")
    run = lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7")
    until = time.monotonic() + 30
    while not any(p.read_bytes() >= b"1000" for p in lab.folder.glob("runs/*/workspace/speed") if p.stat().st_size > 3):
        assert time.monotonic() < until
        time.sleep(0.02)
    run.kill()
    run.communicate()
    (lab.folder / "skills" / "stubborn" / "scripts" / "recipe.py").write_text("import sys; sys.exit(3)\n")
    done = lab.call("resume")
    assert done.returncode == 0, done.stderr
    assert (lab.latest / "workspace" / "speed").read_text() == "100"
