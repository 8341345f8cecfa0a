from __future__ import annotations

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
    assert "round 1 goes on" in _submitted(lab, "--summary", "three times as fast")
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
