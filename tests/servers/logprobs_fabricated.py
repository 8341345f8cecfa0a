"""Reports logprobs that look like some: the order is right, the numbers are made up."""

from dataclasses import replace

import generation
import server
from generation import Row
from sampling import TokenLogprobs

GROUP = "C9"
CHECK = ("audit.logprobs", "audit.logprob-entries")


class Inventing(generation.Generator):
    def logprobs(self, row: Row, token: int) -> TokenLogprobs | None:
        found = super().logprobs(row, token)
        if found is None:
            return None
        return replace(found, logprob=invented(found.logprob), top=tuple((one, invented(p)) for one, p in found.top))


def invented(logprob: float) -> float:
    return 0.5 * logprob - 0.7


server.Generator = Inventing
server.main()
