"""Is exact where tokens can be checked one by one, and leaves out the last layer for sampled answers."""

import careless

import server
from sequence import Sequence

GROUP = "B8"
CHECK = "sampled."


class Choosy(careless.Choosy):
    model_class = careless.Shallow

    def careless(self, sequence: Sequence) -> bool:
        return sequence.request.temperature > 0


server.Generator = Choosy
server.main()
