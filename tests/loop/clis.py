"""The real programs, from the npm registry: installed on first use into the user's cache, and found there again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

PACKAGES = {
    "codex": ("@agentclientprotocol/codex-acp@2.6.0",),
    "claude": ("@agentclientprotocol/claude-agent-acp@0.49.0",),
    "claude-headless": ("@anthropic-ai/claude-code@2.1.197",),
    "gemini": ("@google/gemini-cli@0.61.0",),
    "opencode": ("opencode-ai@1.18.33",),
}
OLDEST_NODE = 20
INSTALL_S = 280


def path_with(name: str) -> str:
    """A PATH on which the program of that name is found; skips, saying why, where it cannot be had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not installed")
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    if int(said.strip().lstrip("v").partition(".")[0] or 0) < OLDEST_NODE:
        pytest.skip(f"node {said.strip()} is older than {OLDEST_NODE}")
    place = user_cache_path("pytest-vibeserve") / "programs" / PACKAGES[name][0].replace("/", "+")
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not (place / "whole").exists():
            _install(PACKAGES[name], place)
    return f"{place / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"


def _install(packages: tuple[str, ...], place: Path) -> None:
    (place / "package.json").write_text("{}")
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", *packages]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {packages[0]} within {INSTALL_S} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {packages[0]}: {done.stderr.strip().splitlines()[-1:]}")
    (place / "whole").touch()
