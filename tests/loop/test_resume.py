from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from loop_lab import Lab, faster


@pytest.fixture
def slow(lab: Lab) -> Lab:
    """Every gate takes a while, so that there is time to interfere; there are two techniques to find."""
    (lab.target / "slow").write_text("30")
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("kernels", faster(2), relieves="step-overhead")
    return lab


def _start(lab: Lab) -> subprocess.Popen[str]:
    return lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7")


def _wait(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    for _ in range(1200):
        if happened():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def _logged(lab: Lab, number: int, name: str) -> Callable[[], bool]:
    return lambda: any(lab.folder.glob(f"runs/*/rounds/{number:04d}/{name}"))


def _lines(lab: Lab, count: int) -> Callable[[], bool]:
    def reached() -> bool:
        return any(path.read_bytes().count(b"\n") >= count for path in lab.folder.glob("runs/*/rounds.jsonl"))

    return reached


def _gates(lab: Lab) -> list[str]:
    """Processes whose command line names this laboratory's runs, other than the loop itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if str(lab.folder).encode() in words and b"fake_gate" in words and b"vibeserve_loop\0" not in words:
            found.append(path.parent.name)
    return found


def _codes(lab: Lab) -> list[tuple[str, str, str]]:
    return [(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in lab.rounds()]


@pytest.mark.parametrize("moment", ["starter's gate", "edit", "gate of work", "recorded"])
def test_after_kill_9_resume_ends_where_an_undisturbed_run_ends(slow: Lab, moment: str) -> None:
    happened = {
        "starter's gate": _logged(slow, 0, "gate.log"),
        "edit": _logged(slow, 1, "brief.md"),
        "gate of work": _logged(slow, 1, "gate.log"),
        "recorded": _lines(slow, 2),
    }
    if moment != "starter's gate":
        (slow.target / "slow").write_text("0.2")
    process = _start(slow)
    _wait(process, happened[moment])
    process.kill()
    process.communicate()
    (slow.target / "slow").unlink(missing_ok=True)
    before = (slow.latest / "rounds.jsonl").read_bytes() if (slow.latest / "rounds.jsonl").exists() else b""
    done = slow.call("resume")
    assert done.returncode == 0, done.stderr
    assert (slow.latest / "rounds.jsonl").read_bytes().startswith(before)
    disturbed = _codes(slow)
    assert slow.run("--runs", "undisturbed").returncode == 0
    whole = next(slow.folder.glob("undisturbed/*/rounds.jsonl"))
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    assert disturbed == [(r["task"]["kind"], r["tree"], r["decision"]["ruling"]) for r in lines]


def test_kill_9_leaves_no_gate_running(slow: Lab) -> None:
    process = _start(slow)
    _wait(process, lambda: bool(_gates(slow)))
    process.kill()
    process.communicate()
    for _ in range(600):
        if not _gates(slow):
            break
        time.sleep(0.02)
    assert _gates(slow) == []


def test_children_that_a_gate_leaves_behind_are_ended(lab: Lab) -> None:
    (lab.target / "starter" / "orphan").write_text("")
    assert lab.run().returncode == 0
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _command(path) == b"sleep\x001234\0"]
    assert left == []


def _command(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_says_how_to_go_on(slow: Lab, number: signal.Signals) -> None:
    process = _start(slow)
    _wait(process, _logged(slow, 0, "gate.log"))
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"to go on: vibeserve-loop resume {slow.latest}" in errors
    assert "Traceback" not in errors
    assert _gates(slow) == []


def test_a_torn_last_line_is_run_again(slow: Lab) -> None:
    (slow.target / "slow").unlink()
    assert slow.run().returncode == 0
    whole = _codes(slow)
    path = slow.latest / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-50])
    done = slow.call("resume")
    assert done.returncode == 0, done.stderr
    assert "was torn and is dropped" in done.stderr
    assert _codes(slow) == whole


def test_resuming_a_finished_run_shows_its_page_again(lab: Lab) -> None:
    lab.skill("batching", faster(3))
    first = lab.run()
    again = lab.call("resume")
    assert again.returncode == 0
    assert again.stdout.strip() == first.stdout[first.stdout.index("# lab") :].strip()


def test_two_loops_do_not_share_a_run(slow: Lab) -> None:
    process = _start(slow)
    _wait(process, _logged(slow, 0, "gate.log"))
    second = slow.call("resume")
    assert second.returncode == 4
    assert f"another loop (process {process.pid}) is at work" in second.stderr
    process.terminate()
    process.communicate(timeout=30)


def test_changes_of_the_users_own_are_not_swept_away(slow: Lab) -> None:
    (slow.target / "slow").unlink()
    assert slow.run("--max-rounds", "1").returncode == 0
    note = slow.latest / "workspace" / "my-note"
    note.write_text("precious")
    done = slow.call("resume")
    assert done.returncode == 4
    assert "has changes that belong to no round (?? my-note)" in done.stderr
    assert note.read_text() == "precious"


def test_a_run_of_a_newer_version_is_refused(lab: Lab) -> None:
    lab.run()
    path = lab.latest / "run.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))
    done = lab.call("resume")
    assert done.returncode == 4
    assert "has schema 9, this version reads up to 1: update vibeserve-loop" in done.stderr
