"""Draws one choice and gives it for each of `n`."""

from pathlib import Path

from starter_edits import edited

CHECK = "sampled.copies"


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into, ("sampling.py", "None if request.seed is None else (request.seed, index)", "request.seed or 0")
    )
