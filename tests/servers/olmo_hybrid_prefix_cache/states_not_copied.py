"""Keeps a view of a slot's state in place of a copy, which the slot then goes on to change."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "E1"
CHECK = ("audit.", "sessions.", "load.")

BEFORE = "return State(self._inputs[slot].clone(), self._matrices[slot].clone())"
AFTER = "return State(self._inputs[slot], self._matrices[slot])"


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache")
    altered(into, ("delta.py", BEFORE, AFTER))
