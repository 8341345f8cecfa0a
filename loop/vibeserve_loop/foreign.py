"""Code that is not ours: whatever it raises becomes a fact, and never the end of a run."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pytest_vibeserve.errors import VibeserveError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stumble:
    """What foreign code raised: in one line, and the whole traceback."""

    reason: str
    traceback: str


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
        return Stumble(reason, traceback.format_exc())
