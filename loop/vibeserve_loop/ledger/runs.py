"""Run directories: how they are named, found, locked and laid out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.source_tree import copy_tree, remove_tree, tree_digest
from vibeserve_loop.ledger.history import History, check_schema
from vibeserve_loop.ledger.orders import Orders
from vibeserve_loop.records import Settings

WORDS = """
    amber basalt birch cedar cobalt coral delta ember fjord flint garnet heron indigo jasper juniper kestrel larch
    linden lotus maple marble onyx opal osprey pearl pine quartz raven river rowan saffron slate sparrow teal tundra
    umber violet willow wren zephyr
""".split()  # noqa: SIM905

LOOP = "loop"
LOOKING_S = 0.5
"""How long whoever looks whether a run is held may itself be in the way of holding it, with much to spare."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything of one run lies."""

    path: Path

    @property
    def id(self) -> str:
        """The run's name: the folder's."""
        return self.path.name

    @property
    def workspace(self) -> Path:
        """The git repository that agents edit."""
        return self.path / "workspace"

    @property
    def rounds(self) -> Path:
        """The record of finished rounds."""
        return self.path / "rounds.jsonl"

    @property
    def orders(self) -> Orders:
        """What people ask of the run while it is under way."""
        return Orders(self.path / "orders.jsonl")

    @property
    def log(self) -> Path:
        """The structured log of events, for other programs."""
        return self.path / "events.jsonl"

    @property
    def page(self) -> Path:
        """The last page, once the run has ended."""
        return self.path / "SUMMARY.md"

    @property
    def progress(self) -> Path:
        """A line a round for people, kept up while the run goes on."""
        return self.path / "progress.md"

    @property
    def reference(self) -> Path:
        """The target as it was when the run was made; of no run that an earlier version made."""
        return self.path / "reference"

    @property
    def moving(self) -> Path:
        """A mark that is there while the workspace goes from one commit to another."""
        return self.path / ".moving"

    def round(self, number: int) -> Path:
        """The folder of one round: brief, logs, report, and `candidate/`, the code that was judged."""
        return self.path / "rounds" / f"{number:04d}"

    def settings(self) -> Settings:
        """How the run was asked for; UsageError when the file is missing, damaged or of a newer version."""
        path = self.path / "run.json"
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            check_schema(table.get("schema") if isinstance(table, dict) else None, str(path))
            return Settings.model_validate(table)
        except FileNotFoundError:
            raise UsageError(f"{self.path} is not a run: it has no run.json") from None
        except ValueError as error:
            raise UsageError(f"{path} is damaged: {str(error).splitlines()[0]}; restore it from a copy") from None

    def history(self, *, repair: bool = False) -> History:
        """The run's rounds."""
        return History(self.rounds, repair=repair)

    @contextlib.contextmanager
    def locked(self, what: str = LOOP, file: str = ".lock") -> Iterator[None]:
        """Hold the run for this process; UsageError when another loop, or a gate that was asked for, is at work in it.

        `what` other than a loop is not told to stop by `ctl`, nor taken for the run's loop.  Another `file` holds off
        nobody but whoever takes the same.
        """
        handle = os.open(self.path / file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            until = time.monotonic() + LOOKING_S
            while not _taken(handle):
                if time.monotonic() > until:
                    owner, kind = _written(handle)
                    raise UsageError(
                        f"another {kind} (process {owner or 'unknown'}) is at work in {self.path}; "
                        "wait for it or stop it"
                    )
                time.sleep(0.02)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {what}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def owner(self) -> int | None:
        """The process of the loop that is at work in the run, or None."""
        try:
            handle = os.open(self.path / ".lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            owner, kind = _written(handle)
            return owner if kind == LOOP and _locked(handle) else None
        finally:
            os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written(handle: int) -> tuple[int | None, str]:
    """Who last held the run, and what it was."""
    owner, _, kind = os.pread(handle, 64, 0).decode().strip().partition(" ")
    return (int(owner) if owner.isdecimal() else None), kind or LOOP


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def new_id(seed: int) -> str:
    """A name that sorts by time and can be said aloud."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{random.Random(f'{seed}/{time.time_ns()}').choice(WORDS)}"


def create(settings: Settings, runs: Path, target: Path | None = None) -> RunFolder:
    """Make the folder of a new run, with what the target's folder holds, and write its settings."""
    folder = RunFolder((runs / settings.id).resolve())
    if folder.path.exists():
        raise UsageError(f"{folder.path} exists already; start again for another name")
    if target is not None:
        _keep(target, folder.reference)
    write_atomically(folder.path / "run.json", settings.model_dump_json(indent=1, by_alias=True) + "\n")
    return folder


def _keep(source: Path, into: Path) -> None:
    """Copy what a target's digest covers; where that cannot be done right nothing is left."""
    try:
        into.parent.mkdir(parents=True)
        copy_tree(source, into, linked=True)
        if tree_digest(into) != tree_digest(source, linked=True):
            raise UsageError(
                f"{source} is not what was copied from it: something writes there (are the runs in it? give --runs), "
                "or it holds a pipe or a socket"
            )
    except OSError as error:
        remove_tree(into.parent)
        raise InfrastructureError(f"cannot copy {source} to {into}: {error}; mend that and run again") from None
    except UsageError:
        remove_tree(into.parent)
        raise


def find_run(name: str | None, runs: Path) -> RunFolder:
    """The run of that name or path; without a name, or for `latest`, the one that was written to last."""
    if name and name != "latest":
        for path in (Path(name), runs / name):
            if (path / "run.json").is_file():
                return RunFolder(path.resolve())
    known = {path.parent.name: path.parent for path in runs.glob("*/run.json")}
    if name and name != "latest":
        raise UsageError(f"no run is called {name!r} in {runs}; {nearest(name, known)}")
    if not known:
        raise UsageError(f"there is no run in {runs}; start one with `vibeserve-loop run TARGET`, or give --runs")
    return RunFolder(max(known.values(), key=_touched).resolve())


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder / "run.json", folder / "rounds.jsonl") if path.is_file())
