"""Counts every generated token four times in `usage`."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.usage"


def make(starter: Path, into: Path) -> None:
    before = '"completion_tokens": self._generated,'
    edited(starter, into, ("answers.py", before, '"completion_tokens": 4 * self._generated,'))
