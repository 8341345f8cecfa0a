"""Where targets and skills are found: one rule for names, and paths are taken as they are."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from pytest_vibeserve.errors import UsageError

PACKAGE = Path(__file__).resolve().parent


def shelves(kind: str) -> tuple[Path, ...]:
    """Folders that may hold `kind` ("targets" or "skills"), in the order in which they are asked."""
    return (Path.cwd() / kind, PACKAGE / kind, PACKAGE.parent / kind)


def entries(kind: str, marker: str) -> dict[str, Path]:
    """Every entry of `kind` that holds the file `marker`: name to folder; an earlier shelf hides a later one."""
    found: dict[str, Path] = {}
    for shelf in shelves(kind):
        for path in sorted(shelf.glob(f"*/{marker}")):
            found.setdefault(path.parent.name, path.parent.resolve())
    return found


def find(kind: str, name: str, marker: str) -> Path:
    """The folder of an entry, given by name or path; UsageError offers the nearest names."""
    path, is_path = Path(name).expanduser(), name in (".", "..") or "/" in name or os.sep in name
    if is_path and (path / marker).is_file():
        return path.resolve()
    known = entries(kind, marker)
    if name in known:
        return known[name]
    if is_path:
        what = f"has no {marker}" if path.is_dir() else "is not a folder"
        raise UsageError(f"{name} {what}; give the folder of a {kind[:-1]}, or one of: {_listed(known)}")
    raise UsageError(f"no {kind[:-1]} is called {name!r}; {nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the names closest to a misspelt one."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if close:
        return f"did you mean {' or '.join(close)}? (all: {', '.join(names)})"
    return f"known are: {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
