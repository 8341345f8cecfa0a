"""Drafts fifteen tokens ahead from the prediction and verifies all of them."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "static-kv-decode", "predicted-output")
