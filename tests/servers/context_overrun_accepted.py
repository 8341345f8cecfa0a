"""Accepts requests beyond the context."""

from pathlib import Path

from starter_edits import edited

CHECK = "interface.context-limit"


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into, ("protocol.py", "if longest + body.max_tokens > card.context:", "if longest > card.context * 9:")
    )
