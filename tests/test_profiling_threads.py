"""Thread states, looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from pytest_vibeserve.profiling.threads import Looks, looking

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="thread states are read from /proc")


@LINUX
@pytest.mark.parametrize(("code", "idle"), [("while True: pass", False), ("import time; time.sleep(60)", True)])
def test_a_program_that_computes_is_told_from_one_that_sleeps(code: str, idle: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        try:
            time.sleep(0.5)
            with looking(os.getpid()) as looks:
                began = time.monotonic()
                time.sleep(0.6)
                ended = time.monotonic()
        finally:
            program.kill()
    share = looks.idle((began, ended), ())
    assert share is not None
    assert (share > 0.5) == idle


def test_what_lies_in_a_step_is_not_idle_whatever_its_threads_do() -> None:
    looks = Looks([(0.5, 0), (1.5, 0), (2.5, 1), (3.5, 0)])
    assert looks.idle((0, 4), [(1, 2)]) == 0.5


def test_a_machine_is_as_busy_as_its_running_threads_and_no_busier() -> None:
    looks = Looks([(0.5, 1), (1.5, 5), (2.5, 0), (9.0, 2)])
    assert looks.busy((0, 4), 2) == 0.5
    assert looks.busy((20, 30), 2) is None


def test_without_looks_nothing_is_known() -> None:
    with looking(0) as looks:
        pass
    assert looks.idle((0, 1), ()) is None
