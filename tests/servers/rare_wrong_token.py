"""Gives one random token in one of twenty answers, as a race between requests would."""

import itertools
import random

import generation
import server
from generation import Row
from sequence import Sequence

GROUP = "E6"
CHECK = ("audit.request", "load.request", "interface.request")


class Racing(generation.Generator):
    counted = itertools.count(9)

    def begun(self, sequence: Sequence) -> Row:
        row = super().begun(sequence)
        row.notes["wrong"] = next(self.counted) % 20 == 0
        return row

    def chosen(self, row: Row) -> int:
        if row.notes["wrong"] and row.said == 2 and row.sequence.sampler.plain:
            return random.randrange(2, len(row.logits))
        return super().chosen(row)


server.Generator = Racing
server.main()
