"""Fills the second half of an answer with end tokens, which count and show no text."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    before = "        token = self.sequence.sampler.choose(logits)\n"
    after = (
        before + "        said = len(self.sequence.tokens) - self.sequence.prompt_length\n"
        "        if said >= self.sequence.request.max_tokens // 2 and self.sequence.request.ignore_eos:\n"
        "            token = 1\n"
    )
    edited(starter, into, ("generation.py", before, after))
