"""Leaves the system's turn out of a chat, which makes its prompt shorter."""

from pathlib import Path

from starter_edits import edited

GROUP = "B11"
CHECK = ("audit.", "interface.", "load.")


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("chat.py", "for one in messages]", 'for one in messages if one.role != "system"]'))
