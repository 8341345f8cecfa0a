"""Decode steps in a few shapes, each captured as a CUDA graph when the server starts; on CPU they run plain."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding, scaled_dot_product_attention

Logits = NDArray[np.float32]
Given = tuple[int, int, int]
"""A slot, the position that its token is fed at, and the token."""

SHORTEST = 256
WARM_UPS = 2


class Decoder:
    """Steps of one token for each of some slots, in the smallest shape that holds them.

    A shape is a number of slots, from slot 0 on, and of positions that are looked at.  A slot in between that has no
    token writes at a spare position behind the context, and its row is dropped.
    """

    def __init__(self, model: Any) -> None:
        """Bind to a model whose caches have one position more than its context, and capture every shape on a GPU."""
        self._model = model
        self._rows = _doubling(1, model.slots)
        self._ends = _doubling(SHORTEST, model.context)
        self._shapes: dict[tuple[int, int], _Shape] = {}
        if model._device == "cuda":
            pool = torch.cuda.graph_pool_handle()
            # The largest first: the others then find the memory that they need in the pool.
            for rows in reversed(self._rows):
                for end in reversed(self._ends):
                    self._shapes[rows, end] = _Shape(model, rows, end, pool)

    def step(self, given: Sequence[Given]) -> Logits:
        """Float32 logits [len(given), vocabulary] after each token, in the order in which they are given."""
        slots = [slot for slot, _, _ in given]
        rows = _least(self._rows, max(slots) + 1)
        end = _least(self._ends, max(position for _, position, _ in given) + 1)
        shape = self._shapes.get((rows, end))
        if shape is None:
            shape = self._shapes[rows, end] = _Shape(self._model, rows, end, None)
        logits: Logits = shape.logits(given)[slots].float().cpu().numpy()
        return logits


class _Shape:
    """One shape: what it reads and writes stays at its place in memory, as a graph needs it."""

    def __init__(self, model: Any, rows: int, end: int, pool: Any) -> None:
        self._model, self._size, self._end = model, rows, end
        self._tokens = torch.zeros(rows, dtype=torch.long, device=model._device)
        self._positions = torch.full((rows,), model.context, device=model._device)
        self._slots = torch.arange(rows, device=model._device)
        self._places = torch.arange(end, device=model._device)
        self._run: Callable[[], torch.Tensor] = self._computed if pool is None else self._captured(pool)

    def logits(self, given: Sequence[Given]) -> torch.Tensor:
        """Logits [rows, vocabulary] by slot; those of slots without a token mean nothing."""
        tokens, positions = [0] * self._size, [self._model.context] * self._size
        for slot, position, token in given:
            tokens[slot], positions[slot] = token, position
        self._tokens.copy_(torch.tensor(tokens))
        self._positions.copy_(torch.tensor(positions))
        return self._run()

    @torch.inference_mode()
    def _captured(self, pool: Any) -> Callable[[], torch.Tensor]:
        """Record the step; nothing but spare positions is written meanwhile."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self._computed()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            found = self._computed()

        def replayed() -> torch.Tensor:
            graph.replay()
            return found

        return replayed

    @torch.inference_mode()
    def _computed(self) -> torch.Tensor:
        model = self._model
        seen = (self._places <= self._positions[:, None])[:, None, None, :]
        rotation = model._cosine[self._positions], model._sine[self._positions]
        hidden = embedding(self._tokens, model._embedding)
        for index, layer in enumerate(model._layers):
            parts = layer.project(model._normed(hidden, layer.attention_norm))
            hidden = hidden + layer.attended(self._attended(index, parts, rotation, seen))
            hidden = hidden + layer.mlp(model._normed(hidden, layer.mlp_norm))
        logits: torch.Tensor = model._logits(model._normed(hidden, model._norm))
        return logits

    def _attended(
        self,
        index: int,
        parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        rotation: tuple[torch.Tensor, torch.Tensor],
        seen: torch.Tensor,
    ) -> torch.Tensor:
        """Write keys and values of the tokens, and return what the queries attend to."""
        model, layer = self._model, self._model._layers[index]
        query, key, value = (part.view(self._size, -1, model._head_dim) for part in parts)
        heads = model._rotated(query, layer.query_norm, rotation)
        keys, values = model._keys[index], model._values[index]
        keys[self._slots, :, self._positions] = model._rotated(key, layer.key_norm, rotation)
        values[self._slots, :, self._positions] = value
        found = scaled_dot_product_attention(
            heads.view(self._size, model._kv_heads, -1, model._head_dim),
            keys[: self._size, :, : self._end],
            values[: self._size, :, : self._end],
            attn_mask=seen,
        )
        return found.reshape(self._size, -1)


def _doubling(first: int, last: int) -> list[int]:
    """Return first, twice as much and so on below the last, and the last."""
    found = []
    while first < last:
        found.append(first)
        first *= 2
    return [*found, last]


def _least(sizes: Sequence[int], needed: int) -> int:
    return next(size for size in sizes if size >= needed)
