"""Counts positions from one too far after it has reused a prefix."""

import numpy as np

import prefixes
import server
from generation import Cache, Model

GROUP = "E2"
CHECK = ("audit.request", "audit.margin", "sessions.", "load.request", "interface.request")


class Shifted(Model):
    def places(self, cache: Cache, count: int) -> np.ndarray:
        return super().places(cache, count) + getattr(cache, "shift", 0)


class Stale(prefixes.PrefixStore):
    model_class = Shifted

    def reused(self, cache: Cache) -> None:
        cache.shift = 1


server.Generator = Stale
server.main()
