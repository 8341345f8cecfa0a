"""Shares keys and values, and begins the layers of fixed state from nothing."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "E4"
CHECK = ("audit.", "sessions.", "load.")

BEFORE = "        self._inputs[slot], self._matrices[slot] = state.inputs, state.matrices"
AFTER = "        self._inputs[slot], self._matrices[slot] = 0, 0"


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache")
    altered(into, ("delta.py", BEFORE, AFTER))
