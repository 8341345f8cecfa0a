"""Computes in float32 with the weights as given."""

from pathlib import Path

from starter_edits import edited


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", 'dtype="auto"', 'dtype="float32"'))
