"""What tests of agents share: a case is run in a network namespace with nothing but a loopback device."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from loop_lab import new_lab

LAB = Path(__file__).with_name("agent_lab.py")
CHECKOUT = Path(__file__).resolve().parents[2]
FASTER = "echo 250 > speed"
# Codex does not wait for its MCP servers; they are there once a first command has taken a moment.
GATED = [
    {"shell": f"sleep 3; {FASTER}"},
    {"call": "start_gate"},
    {"call": "gate_status", "with": {"ticket": "$ticket", "wait_s": 30}},
    {"call": "gate_verdict", "with": {"ticket": "$ticket"}},
    {"say": "The gate accepted it."},
]
EDITS = [{"shell": FASTER}, {"say": "I made it faster."}]
WALLS = ("bwrap", "--unshare-net", "--die-with-parent", "--dev-bind", "/", "/")


@dataclass(frozen=True)
class Case:
    """One session of one agent against one script."""

    agent: str
    script: list[dict]
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    sandbox: str = "none"
    brokered: bool = False
    attempts: int = 1


@dataclass(frozen=True)
class Outcome:
    """What the session gave, and what the endpoint was asked."""

    result: dict
    requests: list[dict]


def played(case: Case, folder: Path, limit_s: float = 120) -> Outcome:
    """Run the case to its end, nothing left behind; skip where there are no namespaces."""
    if shutil.which("bwrap") is None or subprocess.run([*WALLS, "true"], check=False).returncode != 0:
        pytest.skip("bwrap cannot make a network namespace here")
    new_lab(folder)
    (folder / "case.json").write_text(json.dumps(case.__dict__))
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "loop")])
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "PYTHONPATH": paths, "HOME": str(folder)}
    (folder / "hosts").write_text("127.0.0.1 localhost model.test\n")
    walls = (*WALLS, "--ro-bind", str(folder / "hosts"), "/etc/hosts")
    done = subprocess.run(
        [*walls, sys.executable, str(LAB), str(folder)], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = folder / "requests.jsonl"
    requests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return Outcome(json.loads(done.stdout.splitlines()[-1]), requests)
