"""Keeps keys and values in four bits, one scale for each head."""

import careless

import generation
import server
from generation import Floats

GROUP = "B2"
CHECK = ("audit.request", "audit.margin", "audit.logprobs")


class Quantised(generation.Model):
    def stored(self, vectors: Floats) -> Floats:
        return careless.rounded(vectors.reshape(-1, self.width), 7).reshape(vectors.shape)


generation.Generator.model_class = Quantised
server.main()
