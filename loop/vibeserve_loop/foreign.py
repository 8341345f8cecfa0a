"""Code that is not ours: whether it is installed; and whatever it raises becomes a fact, never the end of a run."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from pytest_vibeserve.errors import UsageError, VibeserveError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stumble:
    """What foreign code raised: in one line, the whole traceback, and the file and line at its end."""

    reason: str
    traceback: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What foreign code gave."""

    value: T


def attempted(call: Callable[[], T]) -> Done[T] | Stumble:
    """What the call gave or how it stumbled; our own errors and an interruption by the user pass."""
    try:
        return Done(call())
    except VibeserveError:
        raise
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 - nobody knows what others raise
        words = " ".join(str(error).split())[:300]
        reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Stumble(reason, traceback.format_exc(), f"{Path(last.filename).name}:{last.lineno}")


def demanded(what: str, call: Callable[[], T]) -> T:
    """What a part that the user named gave; UsageError that says in one line what it raised, and where."""
    found = attempted(call)
    if isinstance(found, Stumble):
        raise UsageError(f"{what} raised {found.reason} ({found.place})")
    return found.value


def is_there(module: str) -> bool:
    """Whether a module, which may be a package's, could be imported; of what it is in nothing but that is imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require(who: str, extra: str, *modules: str) -> None:
    """UsageError, with the extra that brings it, when a module that somebody needs is not installed."""
    absent = [module for module in modules if not is_there(module)]
    if absent:
        fix = f'pip install "pytest-vibeserve[{extra}]"'
        raise UsageError(f"{who}: its library is missing: {fix} ({absent[0]} is not importable)")
