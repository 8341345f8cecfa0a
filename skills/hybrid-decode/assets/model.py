"""The model of this candidate: OLMo Hybrid in plain torch, with per-slot caches of both kinds of state."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from delta import DeltaLayer, State, normed

Logits = NDArray[np.float32]
Weights = dict[str, torch.Tensor]


@dataclass(slots=True)
class Chunk:
    """Tokens to feed at positions start, start + 1, ... of a slot; `every` asks for logits of each, not of the last."""

    slot: int
    start: int
    tokens: list[int]
    every: bool = False


class Mlp:
    """The gated feed-forward part of one layer."""

    def __init__(self, weights: Weights, name: str) -> None:
        """Pick the tensors of layer `name`."""
        self.gate_up = torch.cat([weights[f"{name}.mlp.{part}_proj.weight"] for part in ("gate", "up")])
        self.down = weights[f"{name}.mlp.down_proj.weight"]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the MLP of each row."""
        gate, up = linear(hidden, self.gate_up).chunk(2, dim=-1)
        return linear(silu(gate) * up, self.down)


class Attention:
    """One layer that attends to everything, with keys and values [slots, heads, context, size]."""

    def __init__(self, weights: Weights, name: str, config: dict[str, int], slots: int, context: int) -> None:
        """Pick the tensors of layer `name`, and take room for its caches."""
        self._epsilon = config["rms_norm_eps"]
        self._heads, self._kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self._size = config["hidden_size"] // self._heads
        own = f"{name}.self_attn"
        self._query, self._key, self._value, self._output = (weights[f"{own}.{part}_proj.weight"] for part in "qkvo")
        self._query_norm, self._key_norm = weights[f"{own}.q_norm.weight"], weights[f"{own}.k_norm.weight"]
        self._norms = [weights[f"{name}.post_{part}_layernorm.weight"] for part in ("attention", "feedforward")]
        self._mlp = Mlp(weights, name)
        shape = (slots, self._kv_heads, context, self._size)
        self.keys, self.values = (torch.zeros(shape, dtype=torch.bfloat16) for _ in range(2))

    def __call__(self, hidden: torch.Tensor, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Return the rows after this layer; each part is normalised behind itself."""
        hidden = hidden + normed(self._attended(hidden, chunks), self._norms[0], self._epsilon)
        return hidden + normed(self._mlp(hidden), self._norms[1], self._epsilon)

    def _attended(self, hidden: torch.Tensor, chunks: Sequence[Chunk]) -> torch.Tensor:
        query = normed(linear(hidden, self._query), self._query_norm, self._epsilon)
        key = normed(linear(hidden, self._key), self._key_norm, self._epsilon)
        query = query.reshape(-1, self._heads, self._size)
        key, value = (rows.reshape(-1, self._kv_heads, self._size) for rows in (key, linear(hidden, self._value)))
        mixed = torch.empty_like(query)
        for rows, chunk in spans(chunks):
            end = chunk.start + len(chunk.tokens)
            self.keys[chunk.slot, :, chunk.start : end] = key[rows].transpose(0, 1)
            self.values[chunk.slot, :, chunk.start : end] = value[rows].transpose(0, 1)
            seen = torch.arange(end) <= torch.arange(chunk.start, end).unsqueeze(1)
            mixed[rows] = scaled_dot_product_attention(
                query[rows].transpose(0, 1).unsqueeze(0), self.keys[None, chunk.slot, :, :end],
                self.values[None, chunk.slot, :, :end], attn_mask=seen, enable_gqa=self._heads != self._kv_heads,
            )[0].transpose(0, 1)  # fmt: skip
        return linear(mixed.flatten(1), self._output)


class Linear:
    """One layer with a state of fixed size, normalised before each part."""

    def __init__(self, weights: Weights, name: str, config: dict[str, int], slots: int) -> None:
        """Pick the tensors of layer `name`, and take room for its states."""
        self._epsilon = config["rms_norm_eps"]
        self._norms = [weights[f"{name}.{part}_layer_norm.weight"] for part in ("attention", "feedforward")]
        self.delta = DeltaLayer(weights, f"{name}.linear_attn", config, slots)
        self._mlp = Mlp(weights, name)

    def __call__(self, hidden: torch.Tensor, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Return the rows after this layer."""
        before = normed(hidden, self._norms[0], self._epsilon)
        hidden = hidden + self.delta(before, [(rows, chunk.slot, chunk.start) for rows, chunk in spans(chunks)])
        return hidden + self._mlp(normed(hidden, self._norms[1], self._epsilon))


class Model:
    """OLMo Hybrid with `slots` caches of `context` positions; bfloat16 weights and products, float32 states."""

    def __init__(self, folder: Path, slots: int, context: int) -> None:
        """Read config.json and model.safetensors; KeyError or ValueError when the checkpoint is none of OLMo Hybrid."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if (config.get("rope_parameters") or {}).get("rope_theta") is not None:
            raise ValueError("config.json asks for rotary positions, which this model has not")
        weights = load_file(folder / "model.safetensors")
        eos = config["eos_token_id"]
        self.vocabulary: int = config["vocab_size"]
        self.context, self.slots = min(context, config["max_position_embeddings"]), slots
        self.eos_ids: tuple[int, ...] = tuple(eos) if isinstance(eos, list) else (eos,)
        self._epsilon = config["rms_norm_eps"]
        self._embedding = weights["model.embed_tokens.weight"]
        self._layers: list[Attention | Linear] = []
        for index, kind in enumerate(config["layer_types"]):
            name = f"model.layers.{index}"
            full = kind == "full_attention"
            self._layers.append(
                Attention(weights, name, config, slots, self.context) if full else Linear(weights, name, config, slots)
            )
        self._norm, self._head = weights["model.norm.weight"], weights["lm_head.weight"]

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Feed the chunks and return float32 logits [rows, vocabulary], rows in the order of the chunks."""
        tokens = torch.tensor([token for chunk in chunks for token in chunk.tokens])
        hidden = embedding(tokens, self._embedding)
        for layer in self._layers:
            hidden = layer(hidden, chunks)
        wanted = [place for rows, chunk in spans(chunks) for place in _wanted(rows, chunk)]
        logits: Logits = linear(normed(hidden[wanted], self._norm, self._epsilon), self._head).float().numpy()
        return logits

    @torch.inference_mode()
    def states(self, slot: int) -> list[State]:
        """Return a copy of what the layers of fixed state hold for a slot: it belongs to the slot's last position."""
        return [layer.delta.state(slot) for layer in self._layers if isinstance(layer, Linear)]

    @torch.inference_mode()
    def begin_from(self, source: int, target: int, length: int, states: Sequence[State]) -> None:
        """Make a slot hold the first `length` positions of another (or of itself), whose states there are given."""
        given = iter(states)
        for layer in self._layers:
            if isinstance(layer, Linear):
                layer.delta.put(target, next(given))
            elif source != target:
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]


def spans(chunks: Sequence[Chunk]) -> Iterator[tuple[slice, Chunk]]:
    """Each chunk with the rows that it has in a step."""
    row = 0
    for chunk in chunks:
        yield slice(row, row + len(chunk.tokens)), chunk
        row += len(chunk.tokens)


def _wanted(rows: slice, chunk: Chunk) -> range:
    return range(rows.start, rows.stop) if chunk.every else range(rows.stop - 1, rows.stop)
