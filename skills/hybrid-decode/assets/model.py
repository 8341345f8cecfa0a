"""The model of this candidate: OLMo Hybrid in plain torch, with keys and values in pages and a state for each slot."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn.functional import embedding, linear, silu

from delta import DeltaLayer, State, normed
from pages import PAGE, Layout, PagedCache, Place

Logits = NDArray[np.float32]
Weights = dict[str, torch.Tensor]

SHARE = 0.8
"""Of a card's memory, what pages may take of the part that the weights leave free."""


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
    """One layer that attends to everything."""

    def __init__(self, weights: Weights, name: str, config: dict[str, int], pages: int) -> None:
        """Pick the tensors of layer `name`, and take room for its keys and values."""
        self._epsilon = config["rms_norm_eps"]
        self._heads, self._kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self._size = config["hidden_size"] // self._heads
        own = f"{name}.self_attn"
        self._query, self._key, self._value, self._output = (weights[f"{own}.{part}_proj.weight"] for part in "qkvo")
        self._query_norm, self._key_norm = weights[f"{own}.q_norm.weight"], weights[f"{own}.k_norm.weight"]
        self._norms = [weights[f"{name}.post_{part}_layernorm.weight"] for part in ("attention", "feedforward")]
        self._mlp = Mlp(weights, name)
        self.cache = PagedCache((self._kv_heads, pages, self._size), str(self._query.device))

    def __call__(self, hidden: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Return the rows after this layer; each part is normalised behind itself."""
        hidden = hidden + normed(self._attended(hidden, layout), self._norms[0], self._epsilon)
        return hidden + normed(self._mlp(hidden), self._norms[1], self._epsilon)

    def _attended(self, hidden: torch.Tensor, layout: Layout) -> torch.Tensor:
        query = normed(linear(hidden, self._query), self._query_norm, self._epsilon)
        key = normed(linear(hidden, self._key), self._key_norm, self._epsilon)
        query = query.reshape(-1, self._heads, self._size)
        key, value = (rows.reshape(-1, self._kv_heads, self._size) for rows in (key, linear(hidden, self._value)))
        return linear(self.cache.attend(layout, query, key, value).flatten(1), self._output)


class Linear:
    """One layer with a state of fixed size, normalised before each part."""

    def __init__(self, weights: Weights, name: str, config: dict[str, int], slots: int) -> None:
        """Pick the tensors of layer `name`, and take room for its states."""
        self._epsilon = config["rms_norm_eps"]
        self._norms = [weights[f"{name}.{part}_layer_norm.weight"] for part in ("attention", "feedforward")]
        self.delta = DeltaLayer(weights, f"{name}.linear_attn", config, slots)
        self._mlp = Mlp(weights, name)

    def __call__(self, hidden: torch.Tensor, places: Sequence[Place]) -> torch.Tensor:
        """Return the rows after this layer."""
        hidden = hidden + self.delta(normed(hidden, self._norms[0], self._epsilon), places)
        return hidden + self._mlp(normed(hidden, self._norms[1], self._epsilon))


class Model:
    """OLMo Hybrid with states for some slots and pages of keys and values for their texts, on a GPU where there is one.

    Weights and products are bfloat16, states float32.  Each slot begins with pages of its own for a whole `context`;
    `slots` says how many can.
    """

    def __init__(self, folder: Path, slots: int, context: int) -> None:
        """Read config.json and the weights; KeyError or ValueError when the checkpoint is none of OLMo Hybrid."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if (config.get("rope_parameters") or {}).get("rope_theta") is not None:
            raise ValueError("config.json asks for rotary positions, which this model has not")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        weights: Weights = {}
        for path in sorted(folder.glob("model*.safetensors")):
            weights |= load_file(path, self._device)
        eos = config["eos_token_id"]
        self.vocabulary: int = config["vocab_size"]
        self.context = min(context, config["max_position_embeddings"])
        self.eos_ids: tuple[int, ...] = tuple(eos) if isinstance(eos, list) else (eos,)
        self._epsilon = config["rms_norm_eps"]
        self._embedding = weights["model.embed_tokens.weight"]
        each = -(-self.context // PAGE)
        self.pages = min(slots * each, _fitting(config, self._device))
        self.slots = min(slots, self.pages // each)
        self._tables = [list(range(slot * each, (slot + 1) * each)) for slot in range(slots)]
        self._layers: list[Attention | Linear] = []
        for index, kind in enumerate(config["layer_types"]):
            name = f"model.layers.{index}"
            full = kind == "full_attention"
            self._layers.append(
                Attention(weights, name, config, self.pages) if full else Linear(weights, name, config, slots)
            )
        self._norm, self._head = weights["model.norm.weight"], weights["lm_head.weight"]

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Feed the chunks and return float32 logits [rows, vocabulary], rows in the order of the chunks."""
        tokens = torch.tensor([token for chunk in chunks for token in chunk.tokens], device=self._device)
        hidden = embedding(tokens, self._embedding)
        places = [(rows, chunk.slot, chunk.start) for rows, chunk in spans(chunks)]
        layout = Layout(places, self._tables, self._device)
        for layer in self._layers:
            hidden = layer(hidden, layout) if isinstance(layer, Attention) else layer(hidden, places)
        wanted = [place for rows, chunk in spans(chunks) for place in _wanted(rows, chunk)]
        rows = linear(normed(hidden[wanted], self._norm, self._epsilon), self._head)
        logits: Logits = rows.float().cpu().numpy()
        return logits

    @torch.inference_mode()
    def states(self, slot: int) -> list[State]:
        """Return a copy of what the layers of fixed state hold for a slot: it belongs to the slot's last position."""
        return [layer.delta.state(slot) for layer in self._layers if isinstance(layer, Linear)]

    @torch.inference_mode()
    def begin_from(self, slot: int, pages: Sequence[int], states: Sequence[State]) -> None:
        """Let a slot's text lie in these pages, and go on from these states; without states it is at its beginning."""
        self._tables[slot] = list(pages)
        deltas = [layer.delta for layer in self._layers if isinstance(layer, Linear)]
        for delta, state in zip(deltas, states, strict=False):
            delta.put(slot, state)

    @torch.inference_mode()
    def copy_page(self, source: int, target: int) -> None:
        """Copy the keys and values of a page to another, in all layers."""
        for layer in self._layers:
            if isinstance(layer, Attention):
                layer.cache.copy(source, target)


def spans(chunks: Sequence[Chunk]) -> Iterator[tuple[slice, Chunk]]:
    """Each chunk with the rows that it has in a step."""
    row = 0
    for chunk in chunks:
        yield slice(row, row + len(chunk.tokens)), chunk
        row += len(chunk.tokens)


def _wanted(rows: slice, chunk: Chunk) -> range:
    return range(rows.start, rows.stop) if chunk.every else range(rows.stop - 1, rows.stop)


def _fitting(config: dict[str, Any], device: str) -> int:
    """Return how many pages a card has room for; elsewhere memory is taken only where something is written."""
    if device != "cuda":
        return sys.maxsize
    size = config["hidden_size"] // config["num_attention_heads"]
    layers = config["layer_types"].count("full_attention")
    bytes_a_page = 2 * 2 * PAGE * size * config["num_key_value_heads"] * layers
    return int(SHARE * torch.cuda.mem_get_info()[0]) // bytes_a_page
