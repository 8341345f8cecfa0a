"""A small model that guesses what the whole one chooses: its own first layers, whose keys and values both share."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from llama import Cache, Llama

LONGEST = 3
"""Choices that are guessed ahead at most; what a grammar forces between them is no choice."""

PAYS = 0.5
"""The share of guesses that must have come true lately for guessing to go on."""

LOOK = 32
"""Steps between two guesses while guessing does not pay."""

WEIGHT = 0.05
"""Of the latest guess in the share of those that came true."""


class Draft:
    """Guesses for one decoder; it stops guessing where its guesses do not come true, and looks again now and then."""

    def __init__(self, net: Llama, layers: int) -> None:
        """Take the first `layers` of a model, its last norm and its head; no weight is copied."""
        self._net = copy.copy(net)
        self._net._layers = net._layers[:layers]
        self._true, self._still = 1.0, 0

    def guess(self, known: list[int], cache: Cache, room: int, grammar: Any, choose: Any) -> list[int]:
        """The next tokens behind `known`, which the cache does not hold yet: at most `room`, forced ones among them.

        `choose(logits, mask)` is greedy; `grammar` stands behind `known` and stays there.
        """
        self._still += 1
        if (self._true < PAYS and self._still % LOOK) or (grammar and grammar.over):
            return []
        ahead, found = grammar.copy() if grammar else None, list[int]()
        own, given = replace(cache), known
        for _ in range(LONGEST):
            with torch.inference_mode():
                ids = torch.tensor([given], device=own.keys.device)
                out = self._net(input_ids=ids, past_key_values=own, use_cache=True, logits_to_keep=1)
            token = choose(out.logits[0, -1].float().cpu().numpy(), ahead.mask() if ahead else None)
            given = [token]
            if ahead:
                ahead.take(token)
                given += ahead.forced()
            if len(found) + len(given) > room:
                break
            found += given
            if ahead and ahead.over:
                break
        return found

    def learn(self, came_true: bool) -> None:
        """Count one guess."""
        self._true += WEIGHT * (came_true - self._true)


def row_by_row(logits: torch.Tensor) -> list[np.ndarray]:
    """Logits [1, n, vocabulary] as n arrays."""
    return list(logits[0].float().cpu().numpy())
