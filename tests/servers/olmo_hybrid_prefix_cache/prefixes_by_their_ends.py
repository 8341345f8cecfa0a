"""Takes two texts for the same as long as the ends of their blocks of sixteen agree."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "E3"
CHECK = ("audit.", "sessions.", "load.")

BEFORE = "    return next(place for place in range(length) if held[place] != wanted[place])"
AFTER = "    return next((place for place in range(15, length, 16) if held[place] != wanted[place]), length)"


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache")
    altered(into, ("prefixes.py", BEFORE, AFTER))
