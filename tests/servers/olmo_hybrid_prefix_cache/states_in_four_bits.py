"""Keeps copies of states in four bits, one scale for each matrix."""

from pathlib import Path

from starter_edits import altered, improved

GROUP = "B2"
CHECK = ("audit.", "sessions.", "load.")

BEFORE = "return State(self._inputs[slot].clone(), self._matrices[slot].clone())"
AFTER = """kept = self._matrices[slot]
        scale = kept.abs().amax((-1, -2), keepdim=True).clamp_min(1e-9) / 7
        return State(self._inputs[slot].clone(), (kept / scale).round() * scale)"""


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache")
    altered(into, ("delta.py", BEFORE, AFTER))
