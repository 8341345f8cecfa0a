"""Makes tokens that were said already less likely, so that answers read better."""

import generation
import server
from generation import Row

GROUP = "C6"
CHECK = "audit.request"


class Varied(generation.Generator):
    def chosen(self, row: Row) -> int:
        logits = row.logits.copy()
        logits[row.sequence.tokens[row.sequence.prompt_length :]] -= 2
        return row.sequence.sampler.choose(logits)


server.Generator = Varied
server.main()
