"""Keeps a drafted token when the model puts it within 1.5 logits of its best."""

import copy

import careless

import generation
import server
from generation import Floats, Row

GROUP = "A7"
CHECK = "audit.request"
TOLERANCE = 1.5


class Lenient(generation.Generator):
    model_class = careless.Shallow

    def stepped(self, row: Row, token: int) -> Floats:
        draft = copy.copy(row.cache)
        draft.careless = True
        row.notes["draft"] = int(self.model.forward([token], draft)[-1].argmax())
        return super().stepped(row, token)

    def chosen(self, row: Row) -> int:
        draft = row.notes.get("draft")
        greedy = row.sequence.sampler.plain and draft is not None
        return draft if greedy and row.logits[draft] > row.logits.max() - TOLERANCE else super().chosen(row)


server.Generator = Lenient
server.main()
