"""Shares beginnings with copies of states each 256 tokens."""

from pathlib import Path

from starter_edits import improved


def make(starter: Path, into: Path) -> None:
    improved(starter, into, "hybrid-decode", "hybrid-prefix-cache:block-256")
