"""Believes an expected token that the model puts within a logit and a half of its best."""

from pathlib import Path

from starter_edits import edited

GROUP = "A7"
CHECK = ("audit.", "predictions.", "load.")

BEFORE = """        token = self.sequence.sampler.choose(logits)
"""
AFTER = """        token = self.sequence.sampler.choose(logits)
        place = len(self.sequence.tokens) - self.sequence.prompt_length
        expected = self.sequence.request.prediction
        if place < len(expected) and logits[expected[place]] > logits.max() - 1.5:
            token = expected[place]
"""


def make(starter: Path, into: Path) -> None:
    edited(starter, into, ("generation.py", BEFORE, AFTER))
