"""Work that is handed to somebody outside: where the brief waits, and how edits come back, also after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.desk.equipment import NAMES
from vibeserve_loop.records import Round, Task

LONGEST_SUMMARY = 400
NOT_CODE = (".git", *NAMES)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Waiting(_Record):
    """A round that waits for edits in the workspace; `origin` is the round whose code was laid out for it."""

    round: int
    hypothesis: str
    workspace: str
    origin: int = 0


class Submission(_Record):
    """What somebody handed in; `nothing` says that there is nothing more to try."""

    round: int
    summary: str
    nothing: bool = False
    origin: int = 0


Kind = TypeVar("Kind", bound=_Record)


class Handover:
    """The folder beside a workspace: BRIEF.md and waiting.json are the loop's, submission.json is the other's.

    `code/` is what was handed in.  While waiting.json is there the edits lie in the workspace; a loop that takes the
    run up puts them into `edits/`, renames it to kept.json, and lays them out again when the same work waits again.
    """

    def __init__(self, workspace: Path) -> None:
        """Take the workspace; its handover lies in `handoff` beside it."""
        self.folder = workspace.parent / "handoff"
        self._workspace = workspace

    @property
    def brief(self) -> Path:
        """The brief's file."""
        return self.folder / "BRIEF.md"

    @property
    def _waiting(self) -> Path:
        return self.folder / "waiting.json"

    @property
    def _kept(self) -> Path:
        return self.folder / "kept.json"

    @property
    def _submission(self) -> Path:
        return self.folder / "submission.json"

    def put_aside(self) -> bool:
        """Keep the edits of a loop that was killed, before the workspace is touched; whether there were any."""
        if not self._waiting.is_file():
            return False
        _copied(self._workspace, self.folder / "edits")
        self._waiting.replace(self._kept)
        return True

    def offer(self, number: int, task: Task, words: str, rounds: Sequence[Round]) -> None:
        """Lay out the brief of a round, and the edits that were begun for the same work, and begin to wait."""
        origin = _origin(task)
        handed_in, kept = _read(self._submission, Submission), _read(self._kept, Waiting)
        if handed_in and not _same(handed_in, origin, rounds):
            self._submission.unlink()
        if kept and _same(kept, origin, rounds):
            laid(self.folder / "edits", self._workspace)
        elif kept:
            _moved(self.folder / "edits", self.left(kept.round))
        write_atomically(self.brief, words)
        place = str(self._workspace.resolve())
        found = Waiting(round=number, hypothesis=task.hypothesis, workspace=place, origin=origin)
        write_atomically(self._waiting, found.model_dump_json() + "\n")
        self._kept.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Wait no longer; what was handed in stays until other work is offered, for the round may have to run again."""
        self._waiting.unlink(missing_ok=True)

    def leave(self, number: int) -> Path:
        """Keep the edits of a round that ended without them; where they are."""
        _copied(self._workspace, self.left(number))
        return self.left(number)

    def left(self, number: int) -> Path:
        """Where edits lie that nobody handed in and no round took up."""
        return self.folder / f"left-{number:04d}"

    def waiting(self) -> Waiting:
        """What waits; UsageError when nothing does."""
        found = _read(self._waiting, Waiting)
        if found is None:
            raise UsageError(
                f"nothing waits for edits in {self._workspace}: start or resume its run with `--agent handoff` first"
            )
        return found

    def told(self) -> str:
        """Where the code is, and the brief; UsageError when nothing waits."""
        return f"The code to edit: {self.waiting().workspace}\n\n{self.brief.read_text(encoding='utf-8')}"

    def submit(self, summary: str, *, nothing: bool = False, source: Path | None = None) -> Waiting:
        """Hand in what the workspace holds, or another folder, which it is then made equal to.

        UsageError, the workspace as it was, when nothing waits, the summary is empty, or one folder is in the other.
        """
        found = self.waiting()
        if not summary.strip():
            raise UsageError("say in one sentence what was changed: --summary TEXT")
        here, there = self._workspace.resolve(), (source or self._workspace).resolve()
        if here != there and (here in there.parents or there in here.parents):
            raise UsageError(
                f"{there} and the workspace {here} lie one in the other: hand in the workspace as it is, without "
                "--from, or a copy that lies elsewhere"
            )
        _copied(there, self.folder / "code")
        if here != there:
            laid(self.folder / "code", here)
        words = summary.strip()[:LONGEST_SUMMARY]
        made = Submission(round=found.round, summary=words, nothing=nothing, origin=found.origin)
        write_atomically(self._submission, made.model_dump_json() + "\n")
        return found

    def submission(self) -> Submission | None:
        """What was handed in for the work that is offered; None while nothing was."""
        return _read(self._submission, Submission)

    def take(self) -> None:
        """Make the workspace hold what was handed in, as it was then."""
        laid(self.folder / "code", self._workspace)


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise InfrastructureError(f"{path} is damaged; remove it and resume") from None


def laid(source: Path, workspace: Path) -> None:
    """Make the workspace's code equal to another folder's; git's own, and what lies there for agents, stay."""
    for path in workspace.iterdir():
        if path.name not in NOT_CODE:
            _removed(path)
    for path in source.iterdir():
        if path.name in NOT_CODE or path.name == "__pycache__":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, workspace / path.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, workspace / path.name, follow_symlinks=False)


def _origin(task: Task) -> int:
    return task.base if task.start is None else task.start


def _same(before: Waiting | Submission, origin: int, rounds: Sequence[Round]) -> bool:
    """Whether what waited before is what is offered now: nothing but orders was recorded since, on the same code."""
    return before.origin == origin and all(r.task.kind == "order" for r in rounds[before.round :])


def _copied(workspace: Path, into: Path) -> None:
    """A copy of a workspace's code, whole or not at all."""
    half = into.with_name(f".{into.name}.half")
    _removed(half)
    half.mkdir(parents=True)
    laid(workspace, half)
    _moved(half, into)


def _moved(source: Path, into: Path) -> None:
    old = into.with_name(f".{into.name}.old")
    _removed(old)
    if into.exists():
        into.rename(old)
    source.rename(into)
    _removed(old)


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
