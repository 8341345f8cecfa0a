"""Lets the choices of one request write to one cache."""

import generation
import server
from generation import Row
from sequence import Sequence

GROUP = "E1"
CHECK = ("sampled.surprisal", "sampled.support", "sampled.ranks")
DEPTH = "full"


class Sharing(generation.Generator):
    def begun(self, sequence: Sequence) -> Row:
        row = super().begun(sequence)
        twins = [other for other in self.active if other.sequence.request is sequence.request]
        if twins and twins[0].cache.length == row.cache.length:
            row.cache.parts = twins[0].cache.parts
        return row


server.Generator = Sharing
server.main()
