"""Fills the second half of an answer with end tokens, which count and show no text."""

import generation
import server
from generation import Row

GROUP = "C2"
CHECK = "audit.request"


class Padding(generation.Generator):
    def chosen(self, row: Row) -> int:
        request = row.sequence.request
        padding = request.ignore_eos and row.said >= max(1, request.max_tokens // 2)
        return min(self.card.eos_ids) if padding else super().chosen(row)


server.Generator = Padding
server.main()
