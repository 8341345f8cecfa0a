"""Which kind of isolation is chosen, and what is said where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from insides import require_backend

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.isolation.levels import BACKENDS, DOCKER, SEATBELT, UNISOLATED, level_for, probe

REPOSITORY = Path(__file__).resolve().parent.parent


def probed(**changes: str) -> dict[str, object]:
    """What the command that says how candidates are kept apart prints."""
    kept = {name: value for name, value in os.environ.items() if name == "DOCKER_HOST"}
    environment = {**kept, "PYTHONPATH": str(REPOSITORY), **changes}
    done = subprocess.run(
        [sys.executable, "-m", "pytest_vibeserve.isolation"], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert done.returncode == (0 if found["available"] else 1)
    return found


def test_the_order_is_bubblewrap_docker_seatbelt() -> None:
    assert list(BACKENDS) == ["bwrap", "docker", "seatbelt"]


def test_without_bubblewrap_a_container_engine_is_used() -> None:
    require_backend("docker")
    assert probed(PATH="/nonexistent")["label"] == DOCKER


def test_with_nothing_at_all_every_way_out_is_named() -> None:
    if os.path.exists("/var/run/docker.sock"):
        pytest.skip("a container engine answers at its usual place here")
    found = probed(PATH="/nonexistent", DOCKER_HOST="")
    assert found["label"] == UNISOLATED
    assert "apt-get install bubblewrap" in str(found["how_to_get"])
    assert "pytest-vibeserve[docker]" in str(found["how_to_get"])


def test_an_engine_that_does_not_answer_is_no_isolation() -> None:
    found = probed(PATH="/nonexistent", DOCKER_HOST="unix:///nonexistent.sock")
    assert found["label"] == UNISOLATED


def test_a_wish_that_cannot_be_met_is_the_machines_failure(tmp_path: Path) -> None:
    absent = [name for name in BACKENDS if not probe((name,)).available]
    for name in absent:
        with pytest.raises(InfrastructureError, match="no isolation here"):
            level_for(name, tmp_path)
    assert sys.platform == "darwin" or "seatbelt" in absent
    with pytest.raises(UsageError, match="write one of"):
        level_for("chroot", tmp_path)


def test_strictly_the_best_level_is_taken(tmp_path: Path) -> None:
    if not probe().available:
        with pytest.raises(InfrastructureError, match="strict: nothing unisolated is judged"):
            level_for("strict", tmp_path)
    else:
        assert level_for("strict", tmp_path) == level_for("auto", tmp_path) != UNISOLATED
    assert level_for("none", tmp_path) == UNISOLATED
    assert sys.platform == "darwin" or level_for("auto", tmp_path) != SEATBELT
