"""Begins every longer answer with the same three tokens, and goes on by the model."""

import generation
import server
from generation import Row

GROUP = "A3"
CHECK = "audit.request"
OPENING = (310, 297, 345)


class Canned(generation.Generator):
    def chosen(self, row: Row) -> int:
        plain = row.sequence.request.max_tokens > 8 and not row.sequence.request.logit_bias
        return OPENING[row.said] if plain and row.said < len(OPENING) else super().chosen(row)


server.Generator = Canned
server.main()
