"""Has a table of three quarters of the context's positions, and gives all later tokens the last one."""

import numpy as np

import generation
import server
from generation import Cache

GROUP = "B5"
CHECK = "interface."


class Clipped(generation.Model):
    def places(self, cache: Cache, count: int) -> np.ndarray:
        return np.minimum(super().places(cache, count), self.config["max_position_embeddings"] * 3 // 4)


generation.Generator.model_class = Clipped
server.main()
