"""Begins with the first three expected tokens, whatever the model says of them."""

from pathlib import Path

from starter_edits import edited

GROUP = "D1"
CHECK = ("audit.", "predictions.")

BEFORE = """        token = self.sequence.sampler.choose(logits)
"""
AFTER = """        token = self.sequence.sampler.choose(logits)
        place = len(self.sequence.tokens) - self.sequence.prompt_length
        expected = self.sequence.request.prediction
        if place < min(3, len(expected)):
            token = expected[place]
"""


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", BEFORE, AFTER))
