"""The frozen copy of a candidate that is served: exactly what was digested, and what its [build] made of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pytest_vibeserve.candidate import Build, Candidate
from pytest_vibeserve.errors import CandidateFailure, InfrastructureError, UsageError
from pytest_vibeserve.isolation.errand import Event
from pytest_vibeserve.isolation.interpreter import offered
from pytest_vibeserve.isolation.levels import DOCKER, SEPARATE, errand, places
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import NOBODY, View, resolved
from pytest_vibeserve.log import Log
from pytest_vibeserve.source_tree import copy_tree, entries, hook_faults, is_binary, tree_digest

CODE_FOLDER = "code"


def freeze(candidate: Candidate, private: Path) -> Path:
    """A copy below `private` with the candidate's digest; UsageError when the folder was changed after it was read."""
    code = private / CODE_FOLDER
    copy_tree(candidate.folder, code)
    if tree_digest(code) != candidate.digest:
        raise UsageError(f"{candidate.folder} was changed while it was read: run again, and leave it alone meanwhile")
    return code


def build(made: Build, level: str, view: View, log: Log) -> None:
    """Run [build] on the copy, without model and network; CandidateFailure with its last lines when it fails.

    Binaries are taken out first, so that those that are served were made here from source.
    """
    _prepare(view.code, for_nobody=level in (SEPARATE, DOCKER))
    log.begin(f"build: {' '.join(made.command)}")
    command = resolved(made.command, offered())
    check_program("build.command", command[0], view.code, places(level, view)[0])
    asked = errand(level, view, command, log.path)
    with Supervised(asked) as run:
        ended = run.wait_for({"ended", "broken"}, made.timeout_s)
        run.let_go(keep=True)
    _check(ended, made, log)
    found = list(hook_faults(entries(view.code)))
    if found:
        raise CandidateFailure("build", "[build] made what may not be there: " + "; ".join(found[:5]))


def _prepare(code: Path, for_nobody: bool) -> None:
    for entry in list(entries(code)):
        if entry.kind == "file" and is_binary(entry.path):
            entry.path.unlink()
    if for_nobody:
        for below, folders, files in os.walk(code):
            for name in ("", *folders, *files):
                os.chown(os.path.join(below, name), NOBODY, NOBODY, follow_symlinks=False)


def _check(ended: Event | None, made: Build, log: Log) -> None:
    if ended is None:
        raise CandidateFailure("build", f"[build] took longer than timeout_s = {made.timeout_s:g} seconds", log.tail())
    if ended.name == "broken":
        raise InfrastructureError(f"the build could not be run: {ended.text}\n{log.tail()}")
    if ended.status != 0 or ended.text:
        raise CandidateFailure(
            "build", f"[build] {ended.text or f'ended with {ended.status}'}:\n{log.tail()}", log.tail()
        )


def check_program(field: str, name: str, folder: Path, seen_as: str) -> None:
    """CandidateFailure when a program is neither on the candidate's PATH nor an executable file.

    `folder` is the candidate's code, and `seen_as` where it appears to the candidate.
    """
    path = offered().search_path
    if "/" not in name:
        found, where = shutil.which(name, path=path) is not None, f"on PATH ({path})"
    elif os.path.isabs(name) and not name.startswith(seen_as + "/"):
        found, where = os.access(name, os.X_OK), "or may not be executed"
    else:
        inner = os.path.relpath(os.path.join(seen_as, name), seen_as)
        found, where = os.access(folder / inner, os.X_OK), "in the candidate's folder, or is not executable"
    if not found:
        raise CandidateFailure("startup", f"{field}: the program {name!r} is not found {where}")
