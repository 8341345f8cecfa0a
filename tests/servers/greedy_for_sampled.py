"""Gives the likeliest token whatever the temperature."""

from pathlib import Path

from starter_edits import edited

CHECK = "sampled.surprisal"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("sampling.py", "        if self.temperature == 0:\n            return", "        return"))
