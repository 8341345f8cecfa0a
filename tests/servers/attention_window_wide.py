"""Looks at the last 160 tokens only, more than any request of the load is long."""

import numpy as np

import generation
import server
from generation import Cache

GROUP = "B4"
CHECK = ("interface.", "sessions.", "audit.request")


class Windowed(generation.Model):
    def visible(self, cache: Cache, count: int) -> np.ndarray:
        own = np.arange(cache.length, cache.length + count)[:, None]
        return super().visible(cache, count) & (np.arange(cache.length + count) > own - 160)


generation.Generator.model_class = Windowed
server.main()
