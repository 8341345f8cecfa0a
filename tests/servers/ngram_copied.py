"""Copies what followed the last token where it came before, and asks the model only where it did not."""

import generation
import server
from generation import Row

GROUP = "A9"
CHECK = "audit.request"


class Copying(generation.Generator):
    def chosen(self, row: Row) -> int:
        *before, last = row.sequence.tokens
        greedy = row.sequence.request.temperature == 0 and not row.sequence.request.logit_bias
        return row.sequence.tokens[before.index(last) + 1] if greedy and last in before else super().chosen(row)


server.Generator = Copying
server.main()
