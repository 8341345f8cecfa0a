"""A target's `reference.py`: its functions by name, and its faults as its author's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.reference_file import functions

PROGRAM = """
def load(folder, dtype, attention):
    return {"dtype": dtype}["model"]

def generate(model, *, steps):
    return steps

def _own():
    return 0
"""


def test_the_public_functions_are_found_by_name(tmp_path: Path) -> None:
    assert functions(tmp_path / "reference.py") == {}
    (tmp_path / "reference.py").write_text(PROGRAM)
    known = functions(tmp_path / "reference.py")
    assert set(known) == {"load", "generate"}
    assert known["generate"](None, steps=3) == 3


def test_a_function_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "reference.py").write_text(PROGRAM)
    with pytest.raises(UsageError, match=r"reference\.py:3: KeyError: 'model'; mend it there"):
        functions(tmp_path / "reference.py")["load"](tmp_path, "float32", "sdpa")
