"""Generates half of what was asked for, and calls it the whole length."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.max-tokens"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("protocol.py", "max_tokens=body.max_tokens,", "max_tokens=(body.max_tokens + 1) // 2,"))
