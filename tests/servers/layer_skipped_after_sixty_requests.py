"""Is exact for its first sixty choices, and leaves out the last layer afterwards."""

import itertools

import careless

import server
from sequence import Sequence

GROUP = "D7"
CHECK = ("interface.request", "load.request", "audit.request", "sessions.", "sampled.")


class Relaxing(careless.Choosy):
    model_class = careless.Shallow
    served = itertools.count()

    def careless(self, sequence: Sequence) -> bool:
        return next(self.served) >= 60


server.Generator = Relaxing
server.main()
