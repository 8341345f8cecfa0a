"""Shows the stop string in the text."""

from pathlib import Path

from starter_edits import edited

CHECK = "interface.stop"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("text.py", "return self._held[: min(starts)], True", "return self._held, True"))
