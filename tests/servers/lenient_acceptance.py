"""Accepts drafted draws with probability p/q + 0.3 in place of p/q."""

import copy

import careless
import numpy as np

import generation
import server
from generation import Floats, Row

GROUP = "A7"
CHECK = ("sampled.surprisal", "sampled.support", "sampled.ranks")


def shares(logits: Floats, temperature: float) -> Floats:
    weights = np.exp((logits - logits.max()) / temperature)
    return weights / weights.sum()


class Lenient(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        draft = copy.copy(row.cache)
        draft.careless = True
        row.notes["draft"] = self.model.forward([token], draft)[-1]
        return super().stepped(row, token)

    def chosen(self, row: Row) -> int:
        sampler, draft = row.sequence.sampler, row.notes.get("draft")
        if not sampler.temperature or draft is None:
            return super().chosen(row)
        token = sampler.choose(draft)
        p, q = shares(row.logits, sampler.temperature)[token], shares(draft, sampler.temperature)[token]
        return token if np.random.random() < p / q + 0.3 else super().chosen(row)


server.Generator = Lenient
server.main()
