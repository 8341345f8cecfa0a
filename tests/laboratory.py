"""A target with few and short tests, for looking at the gate itself."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from starter_edits import edited

TARGET = Path(__file__).resolve().parents[1] / "targets" / "tiny_llama"
KEPT = ("target.toml", "reference.py", "OBJECTIVE.md")

ACCURACY = """
def test_the_interface_keeps_its_word(judge):
    judge.interface()
"""
PERFORMANCE = """
import pytest


@pytest.mark.parametrize("load", ["c16"])
def test_load(evaluator, load):
    evaluator.measure(load)
"""


def laboratory(into: Path, accuracy: str = ACCURACY, performance: str = PERFORMANCE) -> Path:
    """A target made of the smallest one, with these tests and a second of load each."""
    into.mkdir()
    for name in KEPT:
        shutil.copy(TARGET / name, into / name)
    table = (into / "target.toml").read_text(encoding="utf-8")
    shortened, changed = re.subn(r"^quick_s = .*$", "quick_s = 1", table, flags=re.MULTILINE)
    if not changed:
        raise ValueError("the smallest target's loads say no quick_s")
    (into / "target.toml").write_text(shortened, encoding="utf-8")
    (into / "test_accuracy.py").write_text(accuracy, encoding="utf-8")
    (into / "test_performance.py").write_text(performance, encoding="utf-8")
    edited(TARGET / "starter", into / "starter")
    return into
