"""Turns a prompt of token ids into text and back before it reads it."""

import generation
import server
from sequence import Sequence

GROUP = "B11"
CHECK = ("audit.request", "interface.")


class Rewording(generation.Generator):
    def prompt(self, sequence: Sequence) -> list[int]:
        words = "".join(map(self.vocabulary.spell, super().prompt(sequence)[1:]))
        return self.vocabulary.encode(words)


server.Generator = Rewording
server.main()
