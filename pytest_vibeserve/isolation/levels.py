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
from pytest_vibeserve.isolation import bubblewrap, docker_engine, seatbelt
from pytest_vibeserve.isolation.errand import Errand
from pytest_vibeserve.isolation.interpreter import offered, readable_by_anybody
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import CODE, MODEL, NOBODY, TEMPORARY, View, environment, profiled
from pytest_vibeserve.source_tree import remove_tree

SEPARATE: Final = "bwrap, separate uid"
MAPPED: Final = "bwrap, mapped uid"
DOCKER: Final = "docker"
SEATBELT: Final = "seatbelt"
UNISOLATED: Final = "unisolated"
NAMESPACED: Final = frozenset({SEPARATE, MAPPED, DOCKER})
BACKENDS: Final = {"bwrap": (SEPARATE, MAPPED), "docker": (DOCKER,), "seatbelt": (SEATBELT,)}
WISHES = ("auto", "strict", *BACKENDS, "none")
# a machine that is merely busy must not be taken for one without isolation
_TRY_S = 90.0


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
def probe(backends: tuple[str, ...] = tuple(BACKENDS)) -> Probe:
    """Try the levels of these backends, the strongest first, until one works."""
    failed: list[Probe] = []
    for backend in backends:
        obstacle, remedy = _obstacle(backend)
        for level in () if obstacle else BACKENDS[backend]:
            obstacle = _tried(level)
            if not obstacle:
                return Probe(True, level)
        failed.append(Probe(False, UNISOLATED, obstacle, remedy))
    why = "; ".join(one.why_not for one in failed)
    return Probe(False, UNISOLATED, why, " or ".join(one.how_to_get for one in failed if one.how_to_get))


def _obstacle(backend: str) -> tuple[str, str]:
    """Why a backend need not be tried at all ("" when it should be), and what to do about it when it does not work."""
    if backend == "bwrap":
        if sys.platform != "linux":
            return f"there is no bubblewrap on {sys.platform}", "judge on Linux"
        if bubblewrap.program() is None:
            return "bwrap is not installed", "install it: apt-get install bubblewrap"
        return "", "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    if backend == "docker":
        return docker_engine.obstacle(), "install an engine and `pip install 'pytest-vibeserve[docker]'`"
    return seatbelt.obstacle(), ""


def level_for(wish: str, model: Path) -> str:
    """The level that a launch gets: the best of a named backend or InfrastructureError, "auto" the best there is.

    "strict" is "auto" but never unisolated (InfrastructureError); "none" is no isolation.
    """
    if wish not in WISHES:
        raise UsageError(f"isolation {wish!r} is unknown; write one of: {', '.join(WISHES)}")
    if not model.is_dir():
        raise InfrastructureError(f"the model's folder {model} is not there")
    if wish == "none":
        return UNISOLATED
    found = probe((wish,)) if wish in BACKENDS else probe()
    if wish != "auto" and not found.available:
        strict = "strict: nothing unisolated is judged, and there is " if wish == "strict" else ""
        raise InfrastructureError(f"{strict}no isolation here: {found.why_not}; {found.how_to_get}")
    folders = [model, *(path for path in model.rglob("*") if path.is_dir())]
    if found.label == SEPARATE and not all(readable_by_anybody(folder) for folder in folders):
        return MAPPED
    return found.label


def errand(level: str, view: View, command: tuple[str, ...], log: Path) -> Errand:
    """How to run a command in a view at a level; the private folder goes when it is let go."""
    common = Errand(argv=command, environment=(), folder="/", log=str(log), isolated=True, memory=view.memory)
    common = replace(common, remove=str(view.private), temporary=TEMPORARY)
    if level not in NAMESPACED:
        return _beside_the_gate(level, view, common)
    if level == DOCKER:
        words = docker_engine.command_line(view, command)
        passed_on = docker_engine.engine_address()
        return replace(common, argv=words.run, afterwards=words.remove, environment=passed_on)
    line = bubblewrap.CommandLine(view, staged=level == SEPARATE)
    argv = line.words(command)
    uid = NOBODY if level == SEPARATE else None
    return replace(common, argv=argv, staged=tuple(line.staged), uid=uid, hard=True)


def _beside_the_gate(level: str, view: View, common: Errand) -> Errand:
    """A process among the gate's own, with private folders for HOME and TMPDIR; Seatbelt closes the others."""
    home, temporary = view.private / "home", view.private / "tmp"
    for folder in (home, temporary):
        remove_tree(folder)
        folder.mkdir(mode=0o700)
    chosen = environment(offered(), str(home), str(temporary)) | profiled(view, str(view.hook), str(temporary))
    listed = tuple(f"{name}={value}" for name, value in chosen.items())
    argv = seatbelt.command_line(view, common.argv, (home, temporary)) if level == SEATBELT else common.argv
    common = replace(common, isolated=False, hard=level == UNISOLATED and sys.platform == "linux", temporary=())
    return replace(common, argv=argv, environment=listed, folder=str(view.code))


def places(level: str, view: View) -> tuple[str, str]:
    """Where the candidate finds its code and the model."""
    return (CODE, MODEL) if level in NAMESPACED else (str(view.code), str(view.model))


def _tried(level: str) -> str:
    """Run Python for nothing at that level: "" when it worked, else why not."""
    needed = (*offered().trees, *offered().libraries)
    if level == SEPARATE and os.geteuid() != 0:
        return "a separate uid needs a gate that is root"
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
    if said or event is None:
        return said or "it did not answer"
    return event.text or f"it ended with {event.status}"
