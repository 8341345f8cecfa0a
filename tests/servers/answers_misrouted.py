"""Gives a choice what its neighbour's model said, once in a hundred steps while several are in service."""

import itertools

import generation
import server
from generation import Floats, Row

GROUP = "E1"
CHECK = ("audit.request", "load.request", "interface.request")


class Confused(generation.Generator):
    steps = itertools.count(1)

    def stepped(self, row: Row, token: int) -> Floats:
        own = super().stepped(row, token)
        confused = len(self.active) > 2 and next(self.steps) % 100 == 0
        return self.active[self.active.index(row) - 1].logits if confused else own


server.Generator = Confused
server.main()
