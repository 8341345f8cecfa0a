from __future__ import annotations

from pathlib import Path

import pytest
from loop_lab import Lab, new_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return new_lab(tmp_path)
