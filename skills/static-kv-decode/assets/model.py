"""The model of this candidate: a Llama or a Qwen3 in plain torch over per-slot caches of keys and values."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

Logits = NDArray[np.float32]


@dataclass(slots=True)
class Chunk:
    """Tokens to feed at positions start, start + 1, ... of a slot; `every` asks for logits of each, not of the last."""

    slot: int
    start: int
    tokens: list[int]
    every: bool = False


class Layer:
    """The weights of one layer, as they are in the checkpoint."""

    def __init__(self, weights: dict[str, torch.Tensor], index: int) -> None:
        """Pick the tensors of layer `index`."""
        name = f"model.layers.{index}"
        self.attention_norm = weights[f"{name}.input_layernorm.weight"]
        self.query = weights[f"{name}.self_attn.q_proj.weight"]
        self.key = weights[f"{name}.self_attn.k_proj.weight"]
        self.value = weights[f"{name}.self_attn.v_proj.weight"]
        self.output = weights[f"{name}.self_attn.o_proj.weight"]
        self.mlp_norm = weights[f"{name}.post_attention_layernorm.weight"]
        self.gate = weights[f"{name}.mlp.gate_proj.weight"]
        self.up = weights[f"{name}.mlp.up_proj.weight"]
        self.down = weights[f"{name}.mlp.down_proj.weight"]
        self.query_norm = weights.get(f"{name}.self_attn.q_norm.weight")
        self.key_norm = weights.get(f"{name}.self_attn.k_norm.weight")

    def project(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return query, key and value of each row."""
        return linear(hidden, self.query), linear(hidden, self.key), linear(hidden, self.value)

    def attended(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the output projection of the attention's rows."""
        return linear(rows, self.output)

    def mlp(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the gated MLP of each row."""
        return linear(silu(linear(hidden, self.gate)) * linear(hidden, self.up), self.down)


class Model:
    """A Llama with `slots` caches of `context` positions; bfloat16 weights and products, float32 norms and softmax.

    On a GPU where there is one.
    """

    def __init__(self, folder: Path, slots: int, context: int) -> None:
        """Read config.json and the weights; KeyError when the checkpoint is not a Llama with its own head."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        weights: dict[str, torch.Tensor] = {}
        for path in sorted(folder.glob("model*.safetensors")):
            weights |= load_file(path, self._device)
        eos = config["eos_token_id"]
        self.vocabulary: int = config["vocab_size"]
        self.context = min(context, config["max_position_embeddings"])
        self.slots = slots
        self.eos_ids: tuple[int, ...] = tuple(eos) if isinstance(eos, list) else (eos,)
        self._heads: int = config["num_attention_heads"]
        self._kv_heads: int = config["num_key_value_heads"]
        self._head_dim: int = config["head_dim"]
        self._epsilon: float = config["rms_norm_eps"]
        self._embedding = weights["model.embed_tokens.weight"]
        self._layers = [Layer(weights, index) for index in range(config["num_hidden_layers"])]
        self._norm = weights["model.norm.weight"]
        self._head = weights["lm_head.weight"]
        turns = _rotation(config["rope_parameters"], self._head_dim, self.context)
        self._cosine, self._sine = (one.to(self._device) for one in turns)
        shape = (len(self._layers), slots, self._kv_heads, self.context, self._head_dim)
        self._keys = torch.zeros(shape, dtype=torch.bfloat16, device=self._device)
        self._values = torch.zeros(shape, dtype=torch.bfloat16, device=self._device)

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Feed the chunks and return float32 logits [rows, vocabulary], rows in the order of the chunks."""
        sys.audit("serving.begin", _phase(chunks), sum(len(chunk.tokens) for chunk in chunks))
        rows = _Rows(chunks, self._device)
        hidden = embedding(rows.tokens, self._embedding)
        for index, layer in enumerate(self._layers):
            query, key, value = layer.project(self._normed(hidden, layer.attention_norm))
            attended = self._attention(index, rows, query, key, value)
            hidden = hidden + layer.attended(attended)
            hidden = hidden + layer.mlp(self._normed(hidden, layer.mlp_norm))
        wanted = self._normed(hidden[rows.wanted], self._norm)
        logits: Logits = self._logits(wanted).float().cpu().numpy()
        sys.audit("serving.end")
        return logits

    @torch.inference_mode()
    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Copy the cache of the first `length` positions from one slot to another."""
        self._keys[:, target, :, :length] = self._keys[:, source, :, :length]
        self._values[:, target, :, :length] = self._values[:, source, :, :length]

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return linear(hidden, self._head)

    def _normed(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        wide = hidden.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self._epsilon)
        return (wide * scale).bfloat16() * weight

    def _rotated(
        self, rows: torch.Tensor, norm: torch.Tensor | None, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Return rows [tokens, heads, head_dim], normalised where the model does it, turned to their positions."""
        wide = (rows if norm is None else self._normed(rows, norm)).float()
        low, high = wide.chunk(2, dim=-1)
        return (wide * rotation[0] + torch.cat((-high, low), dim=-1) * rotation[1]).bfloat16()

    def _attention(
        self, index: int, rows: "_Rows", query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Write keys and values of the rows into the cache, and return what the queries attend to."""
        rotation, layer = (self._cosine[rows.positions], self._sine[rows.positions]), self._layers[index]
        heads = self._rotated(query.reshape(-1, self._heads, self._head_dim), layer.query_norm, rotation)
        keys, values = self._keys[index], self._values[index]
        new = (-1, self._kv_heads, self._head_dim)
        keys[rows.slots, :, rows.positions] = self._rotated(key.reshape(new), layer.key_norm, rotation)
        values[rows.slots, :, rows.positions] = value.reshape(new)
        # The query heads that share a key head become queries of one attention: nothing is repeated in memory.
        grouped = heads.reshape(len(heads), self._kv_heads, -1, self._head_dim)
        attended = torch.empty_like(grouped)
        for span in rows.spans:
            end = span.positions.stop
            queries = grouped[span.rows].permute(1, 2, 0, 3)
            seen = scaled_dot_product_attention(
                queries.flatten(1, 2).unsqueeze(0),
                keys[span.slot, :, :end].unsqueeze(0),
                values[span.slot, :, :end].unsqueeze(0),
                attn_mask=span.mask(queries.shape[1]).to(self._device),
            )
            attended[span.rows] = seen.reshape(queries.shape).permute(2, 0, 1, 3)
        if rows.singles is not None:
            one = rows.singles
            queries = grouped.new_zeros((one.slots.stop - one.slots.start, *grouped.shape[1:]))
            queries[one.places] = grouped[one.rows]
            seen = scaled_dot_product_attention(
                queries, keys[one.slots, :, : one.end], values[one.slots, :, : one.end], attn_mask=one.mask
            )
            attended[one.rows] = seen[one.places]
        return attended.flatten(1)


def _phase(chunks: Sequence[Chunk]) -> str:
    """Say what a step is for, to a profiler that listens to audit events: reading prompts, or the next tokens."""
    return "prefill" if any(len(chunk.tokens) > 1 and not chunk.every for chunk in chunks) else "decode"


@dataclass(frozen=True, slots=True)
class _Span:
    """A chunk of several tokens: its rows of the step, its slot and its positions."""

    rows: slice
    slot: int
    positions: slice

    def mask(self, repeats: int) -> torch.Tensor:
        """Return which positions each query sees, for `repeats` query heads one after the other."""
        reach = torch.arange(self.positions.start, self.positions.stop)
        return (torch.arange(self.positions.stop) <= reach.unsqueeze(1)).repeat(repeats, 1)


@dataclass(frozen=True, slots=True)
class _Singles:
    """The chunks of one token: their rows of the step, and their places in a range of slots that attend together."""

    rows: torch.Tensor
    places: torch.Tensor
    slots: slice
    end: int
    mask: torch.Tensor


class _Rows:
    """The tokens of a step, one row each, in the order of the chunks."""

    def __init__(self, chunks: Sequence[Chunk], device: str) -> None:
        """Lay the chunks out one after the other; tensors are on the device."""
        wanted: list[int] = []
        singles: list[int] = []
        self.spans: list[_Span] = []
        row = 0
        for chunk in chunks:
            stop = row + len(chunk.tokens)
            wanted.extend(range(row, stop) if chunk.every else (stop - 1,))
            if stop - row == 1:
                singles.append(row)
            else:
                positions = slice(chunk.start, chunk.start + stop - row)
                self.spans.append(_Span(slice(row, stop), chunk.slot, positions))
            row = stop
        self._device = device
        self.wanted = torch.tensor(wanted, device=device)
        self.tokens = torch.tensor([token for chunk in chunks for token in chunk.tokens], device=device)
        slots = torch.tensor([chunk.slot for chunk in chunks for _ in chunk.tokens])
        positions = torch.tensor([chunk.start + place for chunk in chunks for place in range(len(chunk.tokens))])
        self.slots, self.positions = slots.to(device), positions.to(device)
        self.singles = self._singles(torch.tensor(singles), slots, positions) if singles else None

    def _singles(self, rows: torch.Tensor, all_slots: torch.Tensor, positions: torch.Tensor) -> _Singles:
        """Put the chunks of one token on a range of slots, so that no cache is gathered; the gaps see one position."""
        slots, reach = all_slots[rows], positions[rows]
        first, last, end = int(slots.min()), int(slots.max()), int(reach.max()) + 1
        seen = torch.zeros(last - first + 1, dtype=torch.int64)
        seen[slots - first] = reach
        mask = torch.arange(end) <= seen.unsqueeze(1)
        placed = (rows.to(self._device), (slots - first).to(self._device))
        return _Singles(*placed, slice(first, last + 1), end, mask[:, None, None, :].to(self._device))


def _rotation(rope: dict[str, Any], head_dim: int, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosine and sine [context, 1, head_dim] of the rotary embedding."""
    frequency = rope["rope_theta"] ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    if rope["rope_type"] == "llama3":
        # Turns that fit often into the first context stay as they are, those that do not are slowed by the factor.
        turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        frequency = frequency * (kept + (1 - kept) / rope["factor"])
    angle = torch.outer(torch.arange(context, dtype=torch.float32), frequency)
    both = torch.cat((angle, angle), dim=-1).unsqueeze(1)
    return both.cos(), both.sin()
