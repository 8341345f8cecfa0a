"""Run a command to its end with nothing left behind: past its limit, on Ctrl-C, and when this program is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pytest_vibeserve.errors import InfrastructureError

_UNDER_WAY: set[subprocess.Popen[bytes]] = set()
_ENDS: set[Callable[[], None]] = set()
_ENDING = threading.Event()
TETHER = Path(__file__).with_name("tether.py")
KEPT_BYTES = 200_000
LARGEST_FILE_GIB = 4.0
"""Of what agents' commands and programs write: much more than the code that a gate takes, much less than a disk."""
SHELTERED = (signal.SIGINT, signal.SIGTERM)
BOUND = (b"/machine/tether.py", b"sys.exit(main(Path(sys.argv[1])))")
"""How a word of a command line ends that has a lifeline: a tether's, and that of a gate for the broker."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended; `output` and `errors` hold the last part of what it wrote."""

    code: int
    output: str
    errors: str
    wall_s: float
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs: its folder, its whole environment, its limit, and a file that gets both its streams.

    `cores` pins it, `memory_gib` bounds each of its processes, `file_gib` each file that they write, those that get
    its streams included; empty and 0 leave it as this program is.
    """

    folder: Path
    environment: Mapping[str, str]
    timeout_s: float
    log: Path | None = None
    cores: tuple[int, ...] = ()
    memory_gib: float = 0.0
    file_gib: float = 0.0


def go_on() -> None:
    """Let commands be run again after `end_all`."""
    _ENDING.clear()


def end_all() -> None:
    """End every command of every thread: each is stopped as past its limit, and no other is begun."""
    _ENDING.set()
    for process in tuple(_UNDER_WAY):
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    for end in tuple(_ENDS):
        end()


@contextlib.contextmanager
def ended_too(end: Callable[[], None]) -> Iterator[None]:
    """Have `end` called when every command is ended while this lasts; InfrastructureError at its end, then."""
    _ENDS.add(end)
    try:
        if _ENDING.is_set():
            raise InfrastructureError("the loop is ending")
        yield
    finally:
        _ENDS.discard(end)
    if _ENDING.is_set():
        raise InfrastructureError("the loop is ending")


def run_tethered(command: Sequence[str], place: Place) -> Finished:
    """Run a command in a session of its own and wait; it and its children are gone when this returns or raises."""
    if _ENDING.is_set():
        raise InfrastructureError("the loop is ending")
    began = time.monotonic()
    timed_out = False
    with _streams(place.log) as (output, errors):
        with contextlib.ExitStack() as held:
            with _undisturbed():
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-B", str(TETHER), *_options(place), *command],
                    cwd=place.folder,
                    env=dict(place.environment),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
                held.callback(_release, process)
                _UNDER_WAY.add(process)
            if _ENDING.is_set():
                raise InfrastructureError("the loop is ending")
            try:
                process.wait(place.timeout_s)
            except subprocess.TimeoutExpired:
                timed_out = True
        if _ENDING.is_set():
            raise InfrastructureError("the loop is ending")
        wall_s = time.monotonic() - began
        return Finished(process.returncode, read_tail(output), read_tail(errors), wall_s, timed_out)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Obey SIGINT and SIGTERM after the block alone, so that what it begins is known to whoever must end it.

    Only the main thread obeys signals; the others need no shelter.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SHELTERED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def wait_for_the_rest(folder: Path, timeout_s: float = 20.0) -> None:
    """Wait until what a killed loop had started in a folder has cleared up after itself; InfrastructureError past it.

    Told by /proc, so on Linux alone; elsewhere there is nothing to wait for.
    """
    until = time.monotonic() + timeout_s
    while left := _tethers(folder):
        if time.monotonic() > until:
            raise InfrastructureError(
                f"process {left[0]}, of a loop that was killed, is still at work in {folder}: end it"
            )
        time.sleep(0.05)


def _tethers(folder: Path) -> list[int]:
    """The processes at work in the folder that end with the other loop that started them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, place = (path / "cmdline").read_bytes().split(b"\0"), (path / "cwd").resolve(strict=True)
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if (
            parent != os.getpid()
            and place.is_relative_to(folder)
            and any(word.endswith(mark) for word in words for mark in BOUND)
        ):
            found.append(int(path.name))
    return found


def _options(place: Place) -> list[str]:
    pinned = ["--cores", ",".join(map(str, place.cores))] if place.cores else []
    bounds = {"--memory": place.memory_gib, "--file": place.file_gib}
    return [*pinned, *(word for name, gib in bounds.items() if gib for word in (name, str(int(gib * 2**30))))]


def _release(process: subprocess.Popen[bytes]) -> None:
    """Let go of the tether and wait until it has cleared up; a second Ctrl-C waits too, for the grace is short."""
    _UNDER_WAY.discard(process)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()


@contextlib.contextmanager
def _streams(log: Path | None) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    if log is not None:
        with log.open("w+b") as both:
            yield both, both
        return
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        yield output, errors


def read_tail(stream: IO[bytes]) -> str:
    """The last part of what was written to a file, as text."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - KEPT_BYTES))
    return stream.read().decode("utf-8", "replace")
