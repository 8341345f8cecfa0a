from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from loop_lab import Lab, new_lab


@pytest.fixture(autouse=True)
def _own_leases(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs lease the machine by files in the folder for temporary ones; those of another worker are not waited for."""
    own = str(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("TMPDIR", own)
    monkeypatch.setattr(tempfile, "tempdir", own)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return new_lab(tmp_path)
