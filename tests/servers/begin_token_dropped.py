"""Drops the begin token of every prompt."""

import generation
import server
from sequence import Sequence

GROUP = "B11"
CHECK = ("audit.request", "interface.")


class Headless(generation.Generator):
    def prompt(self, sequence: Sequence) -> list[int]:
        prompt = super().prompt(sequence)
        return prompt[1:] if len(prompt) > 1 else prompt


server.Generator = Headless
server.main()
