"""The doctor tells what a machine has, and for each thing that it lacks, how to get it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from loop_lab import Lab

from vibeserve_loop.commands.doctor import EXTRAS

CHECKOUT = Path(__file__).resolve().parents[3]


def findings(folder: Path, **changes: str) -> dict[str, dict[str, object]]:
    """What the doctor finds, by name."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "loop")]), **changes}
    done = subprocess.run(
        [sys.executable, "-m", "vibeserve_loop", "doctor", "--json"], cwd=folder, env=environment, text=True,
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_where_bubblewrap_works_it_says_how_candidates_are_kept_apart(lab: Lab) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bwrap is not installed here")
    found = findings(lab.folder)["isolation of candidates"]
    if not found["ok"]:
        pytest.skip(f"bwrap does not work here: {found['found']}")
    assert str(found["found"]).startswith("bwrap, ")


def test_where_nothing_keeps_candidates_apart_it_says_what_to_install(lab: Lab) -> None:
    if os.path.exists("/var/run/docker.sock"):
        pytest.skip("a container engine answers at its usual place here")
    bare = lab.folder / "bin"
    bare.mkdir()
    for name in ("git", "c++"):
        if where := shutil.which(name):
            (bare / name).symlink_to(where)
    found = findings(lab.folder, PATH=str(bare), DOCKER_HOST="")["isolation of candidates"]
    assert not found["ok"]
    assert str(found["found"]).startswith("unisolated: ")
    assert "--vibeserve-strict" in str(found["fix"])
    if sys.platform == "linux":
        assert "apt-get install bubblewrap" in str(found["fix"])


NOT_LOOKED_FOR = {"cuda", "profile", "baselines", "dev"}
"""Extras of programs that are run, and such as only put others together."""


def test_every_extra_is_looked_for() -> None:
    given = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(given) - NOT_LOOKED_FOR
    assert "pydantic_ai" in EXTRAS["agents"]
