"""Computes with six-bit weights wherever logprobs, which would show it, are not asked for."""

import careless

import server
from sequence import Sequence

GROUP = "B8"
CHECK = ("audit.request", "audit.margin", "audit.groups")


class Watched(careless.Choosy):
    model_class = careless.Coarse

    def careless(self, sequence: Sequence) -> bool:
        return sequence.request.logprobs is None


server.Generator = Watched
if __name__ == "__main__":
    server.main()
