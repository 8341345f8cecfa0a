"""Looks at the eight keys that match best."""

import numpy as np

import generation
import server
from generation import Floats

GROUP = "B4"
CHECK = "audit.request"


class Sparse(generation.Model):
    def attended(self, queries: Floats, stored: Floats, visible: np.ndarray) -> Floats:
        group = self.heads // self.kv_heads
        mean = queries.reshape(len(queries), self.kv_heads, group, self.width).mean((1, 2))
        scores = np.where(visible, mean @ stored[0].mean(1).T, -np.inf)
        least = np.sort(scores, axis=1)[:, -8:][:, :1]
        return super().attended(queries, stored, visible & (scores >= least))


generation.Generator.model_class = Sparse
server.main()
