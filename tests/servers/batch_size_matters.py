"""Loses six bits of every sum while more than ten choices are in service."""

import numpy as np

import generation
import server
from generation import Floats, Row

GROUP = "D8"
CHECK = ("audit.request", "audit.margin", "audit.groups", "audit.logprobs", "load.")


class Careless(generation.Model):
    crowd = 0

    def product(self, values: Floats, name: str) -> Floats:
        sums = super().product(values, name)
        if self.crowd <= 10:
            return sums
        mantissa, exponent = np.frexp(sums)
        return np.ldexp(np.round(mantissa * 16) / 16, exponent).astype(np.float32)


class Crowded(generation.Generator):
    model_class = Careless

    def stepped(self, row: Row, token: int) -> Floats:
        self.model.crowd = len(self.active)
        return super().stepped(row, token)


server.Generator = Crowded
server.main()
