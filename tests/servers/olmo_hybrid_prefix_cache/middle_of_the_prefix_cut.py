"""Reads the first hundred tokens of a long prompt and its last two hundred."""

from pathlib import Path

from starter_edits import edited

GROUP = "B10"
CHECK = ("audit.", "sessions.", "load.")


def make(starter: Path, into: Path) -> None:
    edited(
        starter, into,
        ("generation.py", "        prompt = torch.tensor([sequence.tokens])\n",
         "        read = sequence.tokens\n"
         "        prompt = torch.tensor([read if len(read) < 400 else read[:100] + read[-200:]])\n"),
    )  # fmt: skip
