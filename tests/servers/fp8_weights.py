"""Rounds every weight matrix to an eight-bit float when it is loaded."""

import careless

import generation
import server
from generation import Floats

GROUP = "B1"
CHECK = ("audit.request", "audit.margin", "audit.logprobs", "audit.groups")


class Quantised(generation.Model):
    def kept(self, name: str, weight: Floats) -> Floats:
        return careless.eight_bit_float(weight) if weight.ndim == 2 and "embed" not in name else weight


generation.Generator.model_class = Quantised
server.main()
