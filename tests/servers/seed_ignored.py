"""Draws anew whatever the seed."""

from pathlib import Path

from starter_edits import edited

CHECK = "interface.seed"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("sampling.py", "None if request.seed is None else (request.seed, index)", ""))
