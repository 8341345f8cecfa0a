"""Steps all sequences together and shares nothing."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "continuous-batching")
