"""Keeps keys and values as eight-bit floats."""

import careless

import generation
import server
from generation import Floats

GROUP = "B2"
CHECK = ("audit.request", "audit.margin", "audit.logprobs", "audit.groups")


class Quantised(generation.Model):
    def stored(self, vectors: Floats) -> Floats:
        return careless.eight_bit_float(vectors)


generation.Generator.model_class = Quantised
server.main()
