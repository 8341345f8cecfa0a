"""Leaves out the last layer for requests with a stop string, whose answers may end anywhere."""

import careless

import server
from sequence import Sequence

GROUP = "D6"
CHECK = ("interface.", "audit.request")


class Choosy(careless.Choosy):
    model_class = careless.Shallow

    def careless(self, sequence: Sequence) -> bool:
        return bool(sequence.request.stop)


server.Generator = Choosy
server.main()
