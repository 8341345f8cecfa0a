"""Reads only the last 24 tokens of a prompt, and reports all of them as read."""

import generation
import server
from sequence import Sequence

GROUP = "B10"
CHECK = "audit.request"


class Tail(generation.Generator):
    def prompt(self, sequence: Sequence) -> list[int]:
        return super().prompt(sequence)[-24:]


server.Generator = Tail
server.main()
