"""Reads only the last 24 tokens of a prompt, and reports all of them as read."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", "torch.tensor([sequence.tokens])", "torch.tensor([sequence.tokens[-24:]])"))
