"""The functions of a target's `reference.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pytest_vibeserve.library import imported, own
from pytest_vibeserve.weights import INSTALL


def functions(path: Path) -> dict[str, Callable[..., Any]]:
    """Every public function of the file by its name; none where there is no file, UsageError when it cannot run."""
    if not path.is_file():
        return {}
    found = vars(imported(path, INSTALL)).items()
    return {name: _told(path, call) for name, call in found if callable(call) and not name.startswith("_")}


def _told(path: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose own faults are told as the user's."""

    @wraps(call, updated=())
    def told(*arguments: Any, **named: Any) -> Any:
        return own(path, lambda: call(*arguments, **named), INSTALL)

    return told
