"""Keeps the first four and the last 32 tokens in its cache and forgets what lies between."""

import numpy as np

import generation
import server
from generation import Cache

GROUP = "B4"
CHECK = "audit.request"


class Forgetful(generation.Model):
    def visible(self, cache: Cache, count: int) -> np.ndarray:
        own, place = np.arange(cache.length, cache.length + count)[:, None], np.arange(cache.length + count)
        return super().visible(cache, count) & ((place < 4) | (place > own - 32))


generation.Generator.model_class = Forgetful
server.main()
