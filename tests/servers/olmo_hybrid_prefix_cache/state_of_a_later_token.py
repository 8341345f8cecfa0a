"""Goes on from copies of states that are of one token later than it takes them for."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "E4"
CHECK = ("audit.", "sessions.", "load.")

BEFORE = "self._held[slot].states[length] = "
AFTER = "self._held[slot].states[length - 1] = "


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache")
    altered(into, ("prefixes.py", BEFORE, AFTER))
