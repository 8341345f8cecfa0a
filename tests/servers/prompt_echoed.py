"""Says the prompt again instead of asking the model."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


def make(starter: Path, into: Path) -> None:
    before = "        token = self.sequence.sampler.choose(logits)\n"
    after = (
        "        given = self.sequence.tokens[1 : self.sequence.prompt_length] or [5]\n"
        "        said = len(self.sequence.tokens) - self.sequence.prompt_length\n"
        "        token = given[said % len(given)]\n"
    )
    edited(starter, into, ("generation.py", before, after))
