"""The functions of a target's `reference.py`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.weights import INSTALL


def functions(path: Path) -> dict[str, Callable[..., Any]]:
    """Every public function of the file by its name; none where there is no file, UsageError when it cannot run."""
    name = f"vibeserve_reference_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        return {}
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UsageError(f"{path}: {error}; {INSTALL}") from error
    return {name: found for name, found in vars(module).items() if callable(found) and not name.startswith("_")}
