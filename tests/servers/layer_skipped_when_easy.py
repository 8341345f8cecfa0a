"""Leaves out the last layer wherever the first one seems sure of the next token."""

import copy

import careless

import generation
import server
from generation import Floats, Row

GROUP = "B3"
CHECK = ("audit.request", "audit.strata")
SURE = 2.0


class Early(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        early = copy.copy(row.cache)
        early.careless = True
        logits = self.model.forward([token], early)[-1]
        second, best = sorted(logits)[-2:]
        if best - second < SURE:
            return super().stepped(row, token)
        row.cache.length += 1
        return logits


server.Generator = Early
server.main()
