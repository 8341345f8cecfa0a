"""Sessions at the broker: what each may ask, what it has asked, and what it may know of an answer."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vibeserve_loop.broker.link import Answer, Ticket
from vibeserve_loop.broker.verdicts import Key
from vibeserve_loop.desk.equipment import NAMES
from vibeserve_loop.desk.growth import overgrown
from vibeserve_loop.records import Assessment
from vibeserve_loop.workspace import GIT_NAMES

Depth = Literal["quick", "full"]
HIDDEN: dict[str, object] = {"baseline": "the base", "baseline_tree": "", "ratios": ()}


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often one session may ask; what the cache answers or the machine spoils is not counted."""

    quick: int = 8
    full: int = 1


@dataclass(slots=True)
class Question:
    """A ticket under way: what is judged, for whom, and where."""

    ticket: Ticket
    folder: Path
    key: Key
    rival: Path | None
    process: subprocess.Popen[bytes] | None = None
    counted: bool = True


@dataclass(slots=True)
class Visit:
    """One session at the broker: its workspace, what it may still ask, and its questions."""

    workspace: Path
    rival: Path | None
    left: dict[Depth, int]
    author: str = "agent"
    over: bool = False
    questions: dict[str, Question] = field(default_factory=dict)


def answer_of(found: Assessment, *, cached: bool) -> Answer:
    """What an agent may know of an assessment."""
    return Answer(
        outcome=found.outcome, reason=public(found.reason), depth=found.depth, provisional=found.depth == "quick",
        cached=cached, failed=found.failed, measurements=found.measurements, hints=found.hints, wall_s=found.wall_s,
        comparison=found.comparison and found.comparison.model_copy(update=HIDDEN),
    )  # fmt: skip


def public(reason: str) -> str:
    """A reason without the paths that an agent has no business with."""
    return " ".join(word if not word.startswith("/") else "[path]" for word in reason.split())[:600]


def copied(workspace: Path, into: Path) -> str:
    """Copy the code as it is, without git and without what was laid there for agents; why not, where it cannot be."""
    if why := overgrown(workspace):
        return why

    def left_out(folder: str, names: list[str]) -> set[str]:
        top = NAMES if Path(folder) == workspace else ()
        return {name for name in names if name in top or name == "__pycache__" or name.lower() in GIT_NAMES}

    try:
        shutil.copytree(workspace, into, symlinks=True, ignore=left_out)
    except (OSError, shutil.Error) as error:
        return f"the workspace could not be copied: {str(error)[:300]}"
    return ""
