"""Gives the same text to everybody."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    before = "        token = self.sequence.sampler.choose(logits)\n"
    after = "        token = 300 + len(self.sequence.tokens) - self.sequence.prompt_length\n"
    edited(starter, into, ("generation.py", before, after))
