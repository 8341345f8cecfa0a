"""Goes through the keys in blocks of sixteen, rescaling what it has summed so far."""

import numpy as np

import generation
import server
from generation import Floats


class Online(generation.Model):
    def attended(self, queries: Floats, stored: Floats, visible: np.ndarray) -> Floats:
        group = self.heads // self.kv_heads
        asked = queries.reshape(len(queries), self.kv_heads, group, self.width).transpose(1, 2, 0, 3)
        largest = np.full(asked.shape[:-1], -1e30, np.float32)
        total, mixed = np.zeros_like(largest), np.zeros_like(asked)
        for at in range(0, stored.shape[1], 16):
            keys, values = stored[:, at : at + 16]
            scores = asked @ keys.transpose(1, 2, 0)[:, None] / np.float32(np.sqrt(self.width))
            scores = np.where(visible[:, at : at + 16], scores, np.float32(-1e30))
            new = np.maximum(largest, scores.max(-1))
            kept, weights = np.exp(largest - new), np.exp(scores - new[..., None]) * (scores > -1e29)
            total = total * kept + weights.sum(-1)
            mixed = mixed * kept[..., None] + weights @ values.transpose(1, 0, 2)[:, None]
            largest = new
        return (mixed / total[..., None]).transpose(2, 0, 1, 3)


generation.Generator.model_class = Online
server.main()
