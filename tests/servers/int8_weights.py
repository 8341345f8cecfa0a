"""Rounds every weight matrix to eight bits per channel when it is loaded."""

import careless

import generation
import server
from generation import Floats

GROUP = "B1"
CHECK = ("audit.request", "audit.margin", "audit.logprobs", "audit.signature", "audit.groups", "audit.strata")


class Quantised(generation.Model):
    def kept(self, name: str, weight: Floats) -> Floats:
        return careless.coarse(name, weight, 127)


generation.Generator.model_class = Quantised
server.main()
