"""py-spy's stacks, and a real program that it looks at."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_vibeserve.profiling.stacks import Stacks, find_program, read_stacks, sampled

LINES = """
_bootstrap (threading.py:1002);run (generation.py:40);step (model.py:90);linear (torch/nn/functional.py:12) 60
_bootstrap (threading.py:1002);run (generation.py:40);_settle (scheduler.py:70);choose (sampling.py:31) 20
run_forever (asyncio/base_events.py:603);_stream (server.py:70);write (aiohttp/web_response.py:440) 15
run_forever (asyncio/base_events.py:603);_stream (server.py:71);write (aiohttp/web_response.py:441) 3
run (generation.py:40);Condition.wait (threading.py:331) 500
run_forever (asyncio/base_events.py:603);EpollSelector.select (selectors.py:468) 300
run (generation.py:40);wait (threading.py:331) 3
main (server.py:90);run_app (aiohttp/web.py:500);Runner.run (asyncio/runners.py:118) 70
_watch (sitecustomize.py:60) 40
main (other.py:3) 2
""".strip().splitlines()


def test_samples_are_told_apart_by_what_they_work_on() -> None:
    found = Stacks()
    read_stacks(LINES, found)
    assert dict(found.kinds) == {"model": 60, "sampling": 20, "http": 18, "other": 2}
    assert found.share("http") == pytest.approx(0.18)


def test_a_function_counts_over_all_its_lines() -> None:
    found = Stacks()
    read_stacks(LINES, found)
    assert found.leaves.most_common(3)[2] == ("write (aiohttp/web_response.py)", 18)


def test_threads_that_wait_and_the_hooks_own_are_no_work() -> None:
    found = Stacks()
    read_stacks(LINES[4:9], found)
    assert found.total == 0


def test_without_processes_nothing_is_sampled_and_that_is_said(tmp_path: Path) -> None:
    with sampled(0, tmp_path) as found:
        pass
    assert found.total == 0
    assert found.why_not


@pytest.mark.skipif(find_program() is None, reason="py-spy is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="another process may be looked into by root")
def test_a_busy_function_is_found_in_a_running_program(tmp_path: Path) -> None:
    code = "def choose_sampling():\n  while True: sum(range(999))\nimport time; time.sleep(0.2); choose_sampling()"
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        try:
            with sampled(os.getpid(), tmp_path) as found:
                time.sleep(2)
        finally:
            program.kill()
    assert found.why_not == ""
    assert found.share("sampling") > 0.5
