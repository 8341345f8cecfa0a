"""Drops the middle of a prompt longer than forty tokens."""

import generation
import server
from sequence import Sequence

GROUP = "B10"
CHECK = "audit.request"


class Middle(generation.Generator):
    def prompt(self, sequence: Sequence) -> list[int]:
        prompt = super().prompt(sequence)
        return prompt if len(prompt) <= 40 else prompt[:20] + prompt[-20:]


server.Generator = Middle
server.main()
