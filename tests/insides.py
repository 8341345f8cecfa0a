"""Looking at a candidate's surroundings from the inside, at each level of isolation that this machine offers."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_vibeserve.isolation import probe
from pytest_vibeserve.isolation.errand import Event
from pytest_vibeserve.isolation.levels import BACKENDS, DOCKER, MAPPED, SEPARATE, errand
from pytest_vibeserve.isolation.supervised import Supervised
from pytest_vibeserve.isolation.view import View

LEVELS = [SEPARATE, MAPPED, DOCKER]
LONGEST_S = 60
HEAD = "import os, json, ctypes, socket, subprocess, sys, time\nanswer = None\n"
Inside = Callable[[str], object]


def require_backend(backend: str) -> None:
    """Skip, saying why, where a backend does not work."""
    found = probe((backend,))
    if backend != "none" and not found.available:
        pytest.skip(f"no {backend} here: {found.why_not}; {found.how_to_get}")


def require(level: str) -> None:
    """Skip, saying why, where a level does not work."""
    backend = next(name for name, levels in BACKENDS.items() if level in levels)
    require_backend(backend)
    if level == SEPARATE and probe((backend,)).label != SEPARATE:
        pytest.skip("a separate uid needs a gate that is root")


def new_view(folder: Path) -> View:
    """A view whose code is still empty, and whose model has a configuration and nothing else."""
    for name in ("code", "model", "private"):
        (folder / name).mkdir(mode=0o755)
    (folder / "model" / "config.json").write_text("{}")
    return View(folder / "code", folder / "model", folder / "private")


def outcome(level: str, view: View, snippet: str) -> object:
    """What `snippet` leaves in `answer`, run where a candidate runs."""
    event, said = ending(level, view, f"{textwrap.dedent(snippet)}\nprint(json.dumps(answer))\n")
    assert event.status == 0, said
    return json.loads(said.splitlines()[-1])


def ending(level: str, view: View, snippet: str, memory: int = 0) -> tuple[Event, str]:
    """How `snippet` ends where a candidate runs, and what it said; nothing of it may be left."""
    (view.code / "program.py").write_text(HEAD + textwrap.dedent(snippet))
    log = view.private.parent / "log"
    log.unlink(missing_ok=True)
    with Supervised(errand(level, replace(view, memory=memory), (sys.executable, "program.py"), log)) as run:
        event = run.wait_for({"ended", "broken"}, LONGEST_S)
        assert event is not None
        assert event.name == "ended", log.read_text() + event.text
        assert run.let_go(keep=True) == ()
    return event, log.read_text(errors="replace")
