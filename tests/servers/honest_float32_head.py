"""Rounds to bfloat16 everywhere but in the head."""

import honest_bfloat16_numpy

import generation
import server
from generation import Floats


class Rounded(honest_bfloat16_numpy.Rounded):
    def head(self, hidden: Floats) -> Floats:
        return hidden @ self.weights["lm_head.weight"].T


generation.Generator.model_class = Rounded
server.main()
