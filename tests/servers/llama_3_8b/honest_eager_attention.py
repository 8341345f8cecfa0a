"""Attends by plain products in bfloat16."""

from pathlib import Path

from starter_edits import edited


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", 'dtype="auto"', 'dtype="bfloat16", attn_implementation="eager"'))
