from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest
from kill_lab import (
    POLICIES,
    VICTIMS,
    Point,
    Undisturbed,
    _end,
    _kill,
    _tree,
    difference,
    disturbed,
    laboratory,
    points,
)
from loop_lab import Lab

pytestmark = pytest.mark.slow
SAMPLE = points(2 * len(VICTIMS) * len(POLICIES), seed=40)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Undisturbed]:
    lab = laboratory(tmp_path_factory.mktemp("killing"))
    return lab, Undisturbed(lab)


@pytest.mark.parametrize("point", SAMPLE, ids=str)
def test_a_killed_run_ends_as_if_nobody_had_touched_it(field: tuple[Lab, Undisturbed], point: Point) -> None:
    lab, undisturbed = field
    whole, duration_s = undisturbed.run(point.policy, point.workers)
    folder, trouble = disturbed(lab, point, duration_s)
    assert not trouble
    assert not difference(folder, whole, point.victim)


def test_a_run_that_ended_by_itself_is_no_killed_run() -> None:
    draw = random.Random(1)
    over = subprocess.Popen(["true"], text=True)
    over.wait()
    assert not _kill(over, "engine", draw, 0.0)
    assert not _kill(subprocess.Popen(["sleep", "0.2"], text=True), "agent", draw, 0.0)
    assert _kill(subprocess.Popen(["sleep", "60"], text=True), "engine", draw, 0.0)


def test_what_a_thread_has_started_is_found() -> None:
    code = "import subprocess, threading; threading.Thread(target=subprocess.run, args=[['sleep', '60']]).start()"
    process = subprocess.Popen([sys.executable, "-c", code], text=True)
    try:
        until = time.monotonic() + 20
        while not (found := [pid for pid, words in _tree(process.pid) if b"sleep" in words]):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        for pid in (*found, process.pid):
            _end(pid)
        process.wait()


def test_the_lock_of_a_git_that_was_killed_does_not_stop_a_run(lab: Lab) -> None:
    assert lab.run().returncode == 0
    (lab.latest / "workspace" / ".git" / "index.lock").touch()
    assert lab.call("resume").returncode == 0


def test_a_difference_would_be_seen(field: tuple[Lab, Undisturbed]) -> None:
    _, undisturbed = field
    plain, agent = undisturbed.run("plain")[0], undisturbed.run("agent")[0]
    assert difference(agent, plain, "engine")
    assert not difference(plain, plain, "engine")
