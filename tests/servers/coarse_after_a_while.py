"""Is exact for its first three seconds in service, and computes with four-bit weights afterwards."""

import time

import careless

import server
from sequence import Sequence

GROUP = "D8"
CHECK = ("audit.", "sampled.", "interface.request", "load.request", "load.margin", "sessions.")


class Coarse(careless.Coarse):
    levels = 7


class Fading(careless.Choosy):
    model_class = Coarse
    begun_s = 0.0

    def careless(self, sequence: Sequence) -> bool:
        self.begun_s = self.begun_s or time.monotonic()
        return time.monotonic() > self.begun_s + 3


server.Generator = Fading
server.main()
