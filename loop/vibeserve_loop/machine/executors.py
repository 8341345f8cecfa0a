"""Where gates run: on this machine, or on the nodes of a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from vibeserve_loop.options import number, words_of

RAY = "ray"
NAMES = (RAY,)
OPTIONS = ("address", "cpus", "gpus", "queue")
QUEUE_S = 4 * 3600.0
EXTRA = 'its library is missing: pip install "pytest-vibeserve[ray]"'
SCRIPT = Path(__file__).with_name("ray_gate.py")


def launcher(executor: str, plain: Sequence[str], backend: str, limit_s: float) -> tuple[str, ...]:
    """The words that start a gate there, given those that start it here; UsageError for what is not known.

    `limit_s` bounds the gate from when it starts on its node; the wait for one is bounded by `queue`, QUEUE_S unless
    given.
    """
    name, *words = words_of("--executor", executor) or [""]
    if not name:
        return tuple(plain)
    if name not in NAMES:
        raise UsageError(f"--executor {name}: {nearest(name, NAMES)}")
    if find_spec("ray") is None:
        raise UsageError(f"--executor ray: {EXTRA}")
    given = dict(word.partition("=")[::2] for word in words)
    for key in given:
        if key not in OPTIONS:
            raise UsageError(f"--executor ray: no option is called {key!r}; {nearest(key, OPTIONS)}")
    cpus, gpus = (number(key, given.get(key, ""), None) for key in ("cpus", "gpus"))
    queue_s = queue_of(executor)
    address = given.get("address") or os.environ.get("RAY_ADDRESS", "auto")
    limits = ["--cpus", f"{cpus:g}"] if cpus else []
    limits += ["--gpus", f"{gpus or 1:g}"] if gpus or backend == "cuda" else []
    limits += ["--limit", f"{limit_s:g}", "--queue", f"{queue_s:g}"]
    return (sys.executable, "-I", "-B", str(SCRIPT), "--address", address, *limits, "--", *plain)


def queue_of(executor: str) -> float:
    """Seconds that a gate may wait for a node there, the way to it included; 0 without an executor."""
    name, *words = words_of("--executor", executor) or [""]
    given = dict(word.partition("=")[::2] for word in words)
    return (number("queue", given.get("queue", ""), QUEUE_S) or QUEUE_S) if name else 0.0
