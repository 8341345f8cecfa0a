"""Looks at the last 24 tokens only."""

import numpy as np

import generation
import server
from generation import Cache

GROUP = "B4"
CHECK = "audit.request"


class Windowed(generation.Model):
    def visible(self, cache: Cache, count: int) -> np.ndarray:
        own = np.arange(cache.length, cache.length + count)[:, None]
        return super().visible(cache, count) & (np.arange(cache.length + count) > own - 24)


generation.Generator.model_class = Windowed
server.main()
