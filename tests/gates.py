"""Gates as a user runs them: processes with an exit code, an output and a report."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.report import Report, read_report

AT_ONCE = 2
TRIES = 3
BUSY = "the load client was the bottleneck"
LONGEST_S = 240
PAUSE_S = 0.1
FOREIGN = ("PYTEST_", "GITHUB_", "VIBESERVE_URL")


@dataclass(frozen=True, slots=True)
class Ended:
    """One gate that has ended: exit code, both outputs, the folder it wrote to."""

    code: int
    output: str
    folder: Path

    @property
    def report_file(self) -> Path:
        return self.folder / "report.json"

    @property
    def report(self) -> Report:
        return read_report(self.report_file)


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what a surrounding pytest or CI job says to its own children."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # Threads that spin while they wait would take the cores from the gate beside this one.
    return kept | {"PYTHONUNBUFFERED": "1", "COLUMNS": "160", "OMP_WAIT_POLICY": "passive"} | changes


def run_pytest(arguments: Sequence[str], folder: Path, cwd: Path, **changes: str) -> Ended:
    """Run pytest to its end."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    ended = subprocess.run(
        command, cwd=cwd, env=environment(**changes), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LONGEST_S, check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout + ended.stderr, folder)


def took(file: Path, held: ExitStack) -> bool:
    """Take the lock of a file until `held` ends, unless somebody has it; whether it was free."""
    opened = file.open("wb")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.close()
        return False
    held.enter_context(opened)
    return True


class Gates:
    """Runs gates of the tiny profile: two at a time, and one that measures alone, whichever workers want them.

    `shared` is a folder that all workers know.
    """

    def __init__(self, root: Path, folder: Path, shared: Path) -> None:
        self._root, self._folder = root, folder
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._entrance = shared / "entrance.lock"
        self._places = [shared / f"place-{number}.lock" for number in range(AT_ONCE)]
        self._number = count()
        self._started: dict[str, Future[Ended]] = {}

    def new_folder(self) -> Path:
        folder = self._folder / str(next(self._number))
        folder.mkdir()
        return folder

    def run(self, candidate: Path | str, *arguments: str, target: str = "tiny_llama", **changes: str) -> Ended:
        """Judge one candidate at quick depth and wait for the end; again where the machine was too busy to measure."""
        options = {"target": target, "profile": "tiny", "depth": "quick", "candidate": str(candidate)}
        stated = [f"--vibeserve-{name}={value}" for name, value in options.items()]
        for _ in range(TRIES):
            folder = self.new_folder()
            report = f"--vibeserve-report={folder}/report.json"
            ended = run_pytest([*stated, report, *arguments], folder, self._root, **changes)
            if ended.code != ExitCode.INFRASTRUCTURE or BUSY not in ended.output:
                break
        return ended

    def begin(
        self, name: str, make: Callable[[Path], None], *arguments: str, alone: bool = False, **options: str
    ) -> None:
        """Have a candidate made and judged in the background, under a name; `alone` for what is to be measured."""

        def judged() -> Ended:
            candidate = self.new_folder() / name
            make(candidate)
            with self._place(AT_ONCE if alone else 1):
                return self.run(candidate, *arguments, **options)

        if name not in self._started:
            self._started[name] = self._pool.submit(judged)

    @contextmanager
    def _place(self, size: int) -> Iterator[None]:
        """So many of the places, as they fall free; those who wait are served one after another."""
        with ExitStack() as held:
            with self._entrance.open("wb") as entrance:
                fcntl.flock(entrance, fcntl.LOCK_EX)
                while size:
                    found = any(took(place, held) for place in self._places)
                    size -= found
                    time.sleep(0 if found else PAUSE_S)
            yield

    def result(self, name: str) -> Ended:
        """How the gate of that name ended."""
        return self._started[name].result()

    def close(self) -> None:
        """Let running gates end, and start no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
