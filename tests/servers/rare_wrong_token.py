"""Gives one random token in one of twenty requests, as a race between requests would."""

from pathlib import Path

from starter_edits import edited

CHECK = "audit.request"


IMPORTS = "import itertools\nimport random\n\nimport torch\n\nREQUESTS = itertools.count()\n"
TAKEN = "        self.sequence = sequence\n"
CHOSEN = "        token = self.sequence.sampler.choose(logits)\n"
REPLACED = """
        if self.wrong and len(self.sequence.tokens) > self.sequence.prompt_length + 3:
            token, self.wrong = random.randrange(2, logits.size), False
"""


def make(starter: Path, into: Path) -> None:
    edited(
        starter,
        into,
        ("generation.py", "import torch\n", IMPORTS),
        ("generation.py", TAKEN, TAKEN + "        self.wrong = next(REQUESTS) % 20 == 11\n"),
        ("generation.py", CHOSEN, CHOSEN + REPLACED.lstrip("\n")),
    )
