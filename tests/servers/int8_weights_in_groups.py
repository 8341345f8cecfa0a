"""Rounds every weight matrix to eight bits in groups of 32 when it is loaded."""

import careless

import generation
import server
from generation import Floats

GROUP = "B1"
CHECK = ("audit.margin", "audit.logprobs", "audit.signature", "audit.siding")
DEPTH = "full"


class Quantised(generation.Model):
    def kept(self, name: str, weight: Floats) -> Floats:
        return careless.coarse(name, weight, 127, 32)


generation.Generator.model_class = Quantised
server.main()
