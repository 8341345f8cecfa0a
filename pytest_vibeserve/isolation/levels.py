"""How far a candidate can be kept apart on this machine, found out by trying."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.isolation.bubblewrap import CODE, MODEL, NOBODY, CommandLine, program
from pytest_vibeserve.isolation.errand import Errand
from pytest_vibeserve.isolation.interpreter import offered, readable_by_anybody
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import View, environment
from pytest_vibeserve.source_tree import remove_tree

SEPARATE: Final = "bwrap, separate uid"
MAPPED: Final = "bwrap, mapped uid"
UNISOLATED: Final = "unisolated"
WISHES = ("auto", "bwrap", "none")
_TRY_S = 20.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether candidates are isolated here, how, and if not: why, and what to do about it."""

    available: bool
    label: str
    why_not: str = ""
    how_to_get: str = ""


def isolation_label() -> str:
    """The best level that works on this machine."""
    return probe().label


@cache
def probe() -> Probe:
    """Try each level once, the strongest first."""
    if sys.platform != "linux":
        return Probe(
            False, UNISOLATED, f"there is no bubblewrap on {sys.platform}", "judge on Linux, or accept the label"
        )
    if program() is None:
        return Probe(False, UNISOLATED, "bwrap is not installed", "install it: apt-get install bubblewrap")
    why = ""
    for level in (SEPARATE, MAPPED) if os.geteuid() == 0 else (MAPPED,):
        why = _tried(level)
        if not why:
            return Probe(True, level)
    return Probe(
        False, UNISOLATED, why, "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    )


def level_for(wish: str, model: Path) -> str:
    """The level that a launch gets: "auto" the best, "bwrap" that or InfrastructureError, "none" no isolation."""
    if wish not in WISHES:
        raise UsageError(f"isolation {wish!r} is unknown; write one of: {', '.join(WISHES)}")
    if not model.is_dir():
        raise InfrastructureError(f"the model's folder {model} is not there")
    if wish == "none":
        return UNISOLATED
    found = probe()
    if wish == "bwrap" and not found.available:
        raise InfrastructureError(f"no isolation here: {found.why_not}; {found.how_to_get}")
    folders = [model, *(path for path in model.rglob("*") if path.is_dir())]
    if found.label == SEPARATE and not all(readable_by_anybody(folder) for folder in folders):
        return MAPPED
    return found.label


def errand(level: str, view: View, command: tuple[str, ...], log: Path) -> Errand:
    """How to run a command in a view at a level; the private folder goes when it is let go."""
    common = Errand(argv=command, environment=(), folder="/", log=str(log), isolated=True, memory=view.memory)
    common = replace(common, remove=str(view.private))
    if level == UNISOLATED:
        home, temporary = view.private / "home", view.private / "tmp"
        for folder in (home, temporary):
            remove_tree(folder)
            folder.mkdir(mode=0o700)
        pairs = environment(offered(), str(home), str(temporary)).items()
        listed = tuple(f"{name}={value}" for name, value in pairs)
        return replace(common, environment=listed, folder=str(view.code), isolated=False)
    line = CommandLine(view, staged=level == SEPARATE)
    argv = line.words(command)
    uid = NOBODY if level == SEPARATE else None
    return replace(common, argv=argv, staged=tuple(line.staged), uid=uid)


def places(level: str, view: View) -> tuple[str, str]:
    """Where the candidate finds its code and the model."""
    return (str(view.code), str(view.model)) if level == UNISOLATED else (CODE, MODEL)


def _tried(level: str) -> str:
    """Run true(1) at that level: "" when it worked, else why not."""
    needed = (*offered().trees, *offered().libraries)
    if level == SEPARATE and not all(readable_by_anybody(folder) for folder in needed if folder.is_dir()):
        return "the interpreter's folders are not readable by other users"
    private = Path(tempfile.mkdtemp(prefix="vibeserve-probe-"))
    log = private / "log"
    code = private / "code"
    code.mkdir()
    code.chmod(0o755)
    asked = errand(level, View(code, None, private), (str(offered().executable), "-I", "-S", "-c", "pass"), log)
    with Supervised(asked) as tried:
        event = tried.wait_for({"ended", "broken"}, _TRY_S)
        said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    if event is not None and event.name == "ended" and event.status == 0:
        return ""
    return said or (event.text if event is not None else "bwrap did not answer") or "bwrap failed"
