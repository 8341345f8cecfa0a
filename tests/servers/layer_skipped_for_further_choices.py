"""Is exact for the first choice of a request and leaves out the last layer for all others."""

import careless

import server
from sequence import Sequence

GROUP = "D6"
CHECK = ("sampled.", "interface.")


class Choosy(careless.Choosy):
    model_class = careless.Shallow

    def careless(self, sequence: Sequence) -> bool:
        return sequence.index > 0


server.Generator = Choosy
server.main()
