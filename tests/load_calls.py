"""The load client called as a command, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def called(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_vibeserve.load_command", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def told(*words: str) -> list[dict[str, Any]]:
    done = called(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
