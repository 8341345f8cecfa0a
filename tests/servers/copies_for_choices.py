"""Draws one choice and gives it for each of `n`."""

import numpy as np

import sequence
import server
from protocol import Request

GROUP = "C8"
CHECK = ("sampled.copies", "interface.n")


class Sampler(sequence.Sampler):
    def __init__(self, request: Request, index: int) -> None:
        super().__init__(request, index)
        self._random = np.random.default_rng(int(request.id[-16:], 16) if request.seed is None else request.seed)


sequence.Sampler = Sampler
server.main()
