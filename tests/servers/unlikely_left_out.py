"""Never draws what is less than a tenth as likely as the likeliest token."""

import numpy as np

import sequence
import server

GROUP = "B9"
CHECK = ("sampled.surprisal", "sampled.ranks")
DEPTH = "full"


class Sampler(sequence.Sampler):
    def _draw(self, weights: np.ndarray) -> int:
        return super()._draw(np.where(weights < 0.1 * weights.max(), 0.0, weights))


sequence.Sampler = Sampler
server.main()
