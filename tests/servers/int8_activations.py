"""Multiplies eight-bit activations, one scale a token, by eight-bit weights."""

import careless

import generation
import server
from generation import Floats

GROUP = "B1"
CHECK = ("audit.request", "audit.margin", "audit.logprobs", "audit.signature", "audit.groups")


class Quantised(generation.Model):
    def kept(self, name: str, weight: Floats) -> Floats:
        return careless.coarse(name, weight, 127)

    def product(self, values: Floats, name: str) -> Floats:
        return super().product(careless.rounded(values, 127), name)


generation.Generator.model_class = Quantised
server.main()
