"""Hard limits by a control group, on machines that let the gate make one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from insides import ending, new_view, require

from pytest_vibeserve.isolation.cgroup import ControlGroup, control_group
from pytest_vibeserve.isolation.levels import MAPPED, UNISOLATED
from pytest_vibeserve.isolation.view import View

MIB = 1 << 20
LIMIT = 64 * MIB


@pytest.fixture
def view(tmp_path: Path) -> View:
    return new_view(tmp_path)


@pytest.fixture
def group() -> Iterator[ControlGroup]:
    made = control_group(f"vibeserve-test-{os.getpid()}", LIMIT, 20)
    if made is None:
        pytest.skip("this machine lets nobody make a control group here")
    yield made
    made.remove()
    assert [folder for folder in made.folders if folder.exists()] == []


def run(group: ControlGroup, program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, preexec_fn=group.join, capture_output=True, text=True, timeout=60, check=False)


def test_the_kernel_ends_what_takes_too_much_memory(group: ControlGroup) -> None:
    assert not group.out_of_memory()
    assert run(group, f"held = b'x' * {4 * LIMIT}").returncode == -9
    assert group.out_of_memory()


def test_memory_that_is_only_stored_counts_as_well(group: ControlGroup) -> None:
    store = f"import os\nfd = os.memfd_create('x')\nfor _ in range(200): os.write(fd, b'x' * {MIB})"
    assert run(group, store).returncode == -9


def test_the_kernel_refuses_one_process_too_many(group: ControlGroup) -> None:
    bomb = """
import os, signal
children = []
try:
    for _ in range(40):
        children.append(os.fork())
        if not children[-1]:
            signal.pause()
except BlockingIOError:
    print(len(children))
for child in children:
    os.kill(child, 9)
"""
    assert 10 < int(run(group, bomb).stdout) < 20


def test_a_group_that_cannot_be_made_is_none() -> None:
    assert control_group("no/such/parent", LIMIT, 20) is None


@pytest.mark.parametrize("level", [MAPPED, UNISOLATED])
def test_hidden_memory_ends_a_candidate(level: str, view: View, group: ControlGroup) -> None:
    if level == MAPPED:
        require(level)
    hide = f"""
    fd = os.memfd_create("hidden")
    for _ in range(600):
        os.write(fd, b"x" * {MIB})
    time.sleep(60)
    """
    event, _ = ending(level, view, hide, memory=200 * MIB)
    assert event.status == 137
    assert "of memory, the limit is 0.20" in event.text


def test_no_group_is_left_behind(view: View, group: ControlGroup) -> None:
    _, said = ending(UNISOLATED, view, "print(open('/proc/self/cgroup').read())", memory=200 * MIB)
    names = set(re.findall(r"vibeserve-\d+", said))
    assert len(names) == 1, said
    assert [folder for folder in group.folders if folder.with_name(*names).exists()] == []
