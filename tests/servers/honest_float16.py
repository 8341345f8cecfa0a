"""Computes in float16, which is no less than sixteen bits."""

from pathlib import Path

from starter_edits import edited


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", 'dtype="auto"', 'dtype="float16"'))
