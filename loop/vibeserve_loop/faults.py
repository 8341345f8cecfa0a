"""Candidates that are wrong on purpose: a target whose gate accepts one of them has a hole in its contract."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically

PROXY = Path(__file__).with_name("fault_proxy.py")
HONEST = "honest"
# Each fault with the start of the name of the check that should notice it.
KINDS = {
    "cut": "audit.max-tokens",
    "memoised": "repeats",
    "constant": "audit",
    "wrong-token": "audit",
    "greedy": "sampled",
    "unstopped": "interface.stop",
    "usage": "audit.usage",
    "buffered": "stream",
    "overloaded": "service",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong candidate: its name, its folder, and the check that is expected to fail."""

    name: str
    folder: Path
    expected_check: str


def built_in_faults(starter: Path, into: Path) -> list[Fault]:
    """Write every built-in fault as a candidate below `into`: a proxy in front of a copy of a text target's starter."""
    try:
        table = tomllib.loads((starter / "candidate.toml").read_text(encoding="utf-8"))
        serve = table["serve"]
        honest = json.dumps({"command": serve["command"], "ready": serve["ready"]})
        build = [str(word) for word in table["build"]["command"]] if "build" in table else []
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{starter}/candidate.toml cannot be read: {error}; the starter must be a candidate") from None
    return [_written(kind, into / kind, starter, honest, build) for kind in KINDS]


def _written(kind: str, folder: Path, starter: Path, honest: str, build: Sequence[str]) -> Fault:
    shutil.copytree(starter, folder / HONEST, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    (folder / HONEST / "candidate.toml").unlink()
    shutil.copy2(PROXY, folder / "server.py")
    write_atomically(folder / "honest-serve.json", honest)
    words = ["python", "server.py", "--kind", kind]
    for name in ("model", "host", "port"):
        words += [f"--{name}", f"{{{name}}}"]
    lines = ["schema = 1", "[serve]", f"command = {json.dumps(words)}", 'ready = "/v1/models"']
    if build:
        inside = json.dumps(["sh", "-c", f'cd {HONEST} && exec "$@"', "sh", *build])
        lines += ["[build]", f"command = {inside}"]
    write_atomically(folder / "candidate.toml", "\n".join(lines) + "\n")
    return Fault(kind, folder, KINDS[kind])
