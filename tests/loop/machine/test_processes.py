from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.machine import processes
from vibeserve_loop.machine.processes import Place, end_all, ended_too, go_on, run_tethered

SLEEPS = (sys.executable, "-c", "import time; time.sleep(1234)")


def interrupting(started: list[Any]) -> type[subprocess.Popen[bytes]]:
    """A Popen in which Ctrl-C comes as soon as the command runs."""

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    return Interrupted


@pytest.fixture
def obedient() -> Iterator[None]:
    """Ctrl-C interrupts, also in a process that was started without an ear for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("obedient")
def test_an_interrupt_while_a_command_starts_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(processes.subprocess, "Popen", interrupting(started))
    with pytest.raises(KeyboardInterrupt):
        run_tethered(SLEEPS, Place(tmp_path, {}, 60))
    assert started[0].returncode is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_command_that_is_begun_while_all_are_ended_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(subprocess.Popen[bytes]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            end_all()

    monkeypatch.setattr(processes.subprocess, "Popen", Late)
    said: list[str] = []

    def runs() -> None:
        try:
            run_tethered(SLEEPS, Place(tmp_path, {}, 60))
        except InfrastructureError as error:
            said.append(str(error))

    try:
        worker = threading.Thread(target=runs)
        worker.start()
        worker.join(30)
        assert said == ["the loop is ending"]
    finally:
        go_on()


def test_what_ends_with_all_commands_is_told_so_and_nothing_comes_of_it() -> None:
    ended: list[int] = []
    try:
        with pytest.raises(InfrastructureError, match="the loop is ending"), ended_too(lambda: ended.append(1)):
            end_all()
    finally:
        go_on()
    with ended_too(lambda: ended.append(2)):
        pass
    end_all()
    go_on()
    assert ended == [1]
