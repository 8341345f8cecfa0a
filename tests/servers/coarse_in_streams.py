"""Computes with six-bit weights for streams, whose users are people, and exactly for whole answers."""

import careless

import server
from sequence import Sequence

GROUP = "D6"
CHECK = ("audit.request", "audit.margin", "audit.groups", "audit.logprobs")


class Watched(careless.Choosy):
    model_class = careless.Coarse

    def careless(self, sequence: Sequence) -> bool:
        return sequence.request.stream


server.Generator = Watched
server.main()
