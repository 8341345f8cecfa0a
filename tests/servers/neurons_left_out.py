"""Computes only the half of the feed-forward neurons whose gates are largest."""

import numpy as np

import generation
import server
from generation import Floats

GROUP = "B7"
CHECK = "audit.request"


class Thinned(generation.Model):
    def gated(self, gate: Floats) -> Floats:
        opened = super().gated(gate)
        return np.where(np.abs(opened) >= np.median(np.abs(opened), axis=-1, keepdims=True), opened, np.float32(0))


generation.Generator.model_class = Thinned
server.main()
