"""Where targets and skills are found: one rule for names, and paths are taken as they are."""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from pytest_vibeserve.errors import UsageError

PACKAGE = Path(__file__).resolve().parent
OWN_FAULTS = (
    SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError, AssertionError,
    OSError, SystemExit,
)  # fmt: skip
"""What a file raises that was written wrongly; memory and accelerators, which are the machine's, raise other kinds."""
T = TypeVar("T")


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


def imported(path: Path, remedy: str = "") -> ModuleType:
    """A target's own Python file as a module; UsageError, with what to do, when something that it needs is missing."""
    name = f"vibeserve_{path.stem}_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported; it must be a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    loader = spec.loader
    own(path, lambda: loader.exec_module(module), remedy)
    return module


def own(path: Path, call: Callable[[], T], remedy: str = "") -> T:
    """What a target's own Python file gives; UsageError with the line to mend where it was written wrongly."""
    try:
        return call()
    except ImportError as error:
        raise UsageError(f"{path}: {error}" + (f"; {remedy}" if remedy else "")) from error
    except OWN_FAULTS as error:
        words = " ".join(str(error).split())[:300]
        raise UsageError(f"{_place(path, error)}: {type(error).__name__}: {words}; mend it there") from error


def _place(path: Path, error: BaseException) -> str:
    """The file's last line on the way to an error; of one that is no Python, the line that is not."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that offers the names closest to a misspelt one."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    if close:
        return f"did you mean {' or '.join(close)}? (all: {', '.join(names)})"
    return f"known are: {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
