"""Reports the best token's logprob for whichever token was chosen."""

from dataclasses import replace

import generation
import server
from generation import Row
from sampling import TokenLogprobs

GROUP = "C9"
CHECK = ("sampled.logprob-entries", "interface.", "audit.logprob-entries")


class Flattering(generation.Generator):
    def logprobs(self, row: Row, token: int) -> TokenLogprobs | None:
        found = super().logprobs(row, token)
        return replace(found, logprob=found.top[0][1]) if found and found.top else found


server.Generator = Flattering
server.main()
