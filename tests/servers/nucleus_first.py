"""Applies `top_p` before the temperature."""

import numpy as np

import sequence
import server

GROUP = "C6"
CHECK = ("sampled.support", "sampled.surprisal", "sampled.ranks")


class Sampler(sequence.Sampler):
    def _draw(self, weights: np.ndarray) -> int:
        plain = weights**self.temperature
        order = np.argsort(plain)[::-1]
        before = np.cumsum(plain[order]) - plain[order]
        weights[order[before >= self._top_p * plain.sum()]] = 0.0
        asked, self._top_p = self._top_p, 1.0
        token = super()._draw(weights)
        self._top_p = asked
        return token


sequence.Sampler = Sampler
server.main()
