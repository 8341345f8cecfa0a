"""A Llama written out: fused projections, caches of a fixed size, and a call like that of Transformers' class."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import embedding, linear, rms_norm, scaled_dot_product_attention, silu
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import quantised


@dataclass(slots=True)
class Cache:
    """Keys and values [layers, key heads, context, size] of one sequence, and how many places of them are filled."""

    keys: torch.Tensor
    values: torch.Tensor
    length: int = 0


@dataclass(frozen=True, slots=True)
class Out:
    """Logits [1, kept, vocabulary] of the last places, and the cache behind them."""

    logits: torch.Tensor
    past_key_values: Cache


class Llama(nn.Module):
    """One sequence at a time, in the precision that the weights were quantised from."""

    def __init__(self, folder: Path) -> None:
        """Multiply the weights out and stack those that are read together; ValueError for biases in projections."""
        super().__init__()
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = LlamaConfig(**{name: value for name, value in stated.items() if name not in quantised.QUANTISED})
        if config.attention_bias or config.mlp_bias:
            raise ValueError("projections with biases are not written out here")
        packing = stated["quantization"]
        stored = quantised.Stored(folder)

        def given(name: str) -> torch.Tensor:
            return quantised.unpacked_one(stored, name, packing["bits"], packing["group_size"], torch.bfloat16)

        self._layers = [f"model.layers.{number}." for number in range(config.num_hidden_layers)]
        self._heads, self._key_heads, self._size = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self._context, self._eps = config.max_position_embeddings, config.rms_norm_eps
        self._weights = nn.ParameterDict()
        for layer in self._layers:
            attend, mlp = layer + "self_attn.", layer + "mlp."
            parts = {"qkv": [f"{attend}{part}_proj.weight" for part in "qkv"], "o": [f"{attend}o_proj.weight"]}
            parts |= {"gate_up": [f"{mlp}gate_proj.weight", f"{mlp}up_proj.weight"], "down": [f"{mlp}down_proj.weight"]}
            parts |= {
                "before": [f"{layer}input_layernorm.weight"],
                "between": [f"{layer}post_attention_layernorm.weight"],
            }
            for name, sources in parts.items():
                self._keep(layer + name, torch.cat([given(source) for source in sources]))
        self._keep("words", given("model.embed_tokens.weight"))
        self._keep("norm", given("model.norm.weight"))
        self._keep("head", given("model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"))
        rotary = LlamaRotaryEmbedding(config)
        angles = torch.arange(self._context)[:, None].float() * rotary.inv_freq.repeat(2)
        turns = torch.stack((angles.cos(), angles.sin())) * rotary.attention_scaling
        self.register_buffer("_turns", turns, persistent=False)

    def _keep(self, name: str, weight: torch.Tensor) -> None:
        self._weights[name.replace(".", "/")] = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)

    def forward(
        self, input_ids: torch.Tensor, past_key_values: Cache | None, use_cache: bool, logits_to_keep: int
    ) -> Out:
        """Ids [1, n] behind what the cache holds, which is extended by them."""
        cache = past_key_values or self.begin()
        start, count = cache.length, input_ids.shape[1]
        cache.length = start + count
        turns = self._turns[:, start : cache.length, None].to(self._at("words").dtype)
        seen = self._seen(start, count) if count > 1 else None
        given = embedding(input_ids[0], self._at("words"))
        for number, layer in enumerate(self._layers):
            normal = self._norm(given, self._at(layer + "before"))
            mixed = self._attended(linear(normal, self._at(layer + "qkv")), turns, cache, number, seen)
            given = given + linear(mixed, self._at(layer + "o"))
            normal = self._norm(given, self._at(layer + "between"))
            gate, up = linear(normal, self._at(layer + "gate_up")).chunk(2, -1)
            given = given + linear(silu(gate) * up, self._at(layer + "down"))
        last = self._norm(given[-logits_to_keep:], self._at("norm"))
        return Out(linear(last, self._at("head"))[None], cache)

    def _attended(
        self, stacked: torch.Tensor, turns: torch.Tensor, cache: Cache, number: int, seen: torch.Tensor | None
    ) -> torch.Tensor:
        """From [n, (heads + 2 key heads) * size] to [n, heads * size]; the heads of one key head are queries of it."""
        count, groups = len(stacked), self._heads // self._key_heads
        parts = stacked.view(count, self._heads + 2 * self._key_heads, self._size)
        turning = parts[:, : self._heads + self._key_heads]
        first, second = turning.chunk(2, -1)
        turned = turning * turns[0] + torch.cat((-second, first), -1) * turns[1]
        end = cache.length
        cache.keys[number, :, end - count : end] = turned[:, self._heads :].transpose(0, 1)
        cache.values[number, :, end - count : end] = parts[:, self._heads + self._key_heads :].transpose(0, 1)
        query = turned[:, : self._heads].reshape(count, self._key_heads, groups, self._size).permute(1, 2, 0, 3)
        query = query.reshape(1, self._key_heads, groups * count, self._size)
        keys, values = cache.keys[None, number, :, :end], cache.values[None, number, :, :end]
        found = scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        found = found.view(self._key_heads, groups, count, self._size).permute(2, 0, 1, 3)
        return found.reshape(count, self._heads * self._size)

    def _seen(self, start: int, count: int) -> torch.Tensor:
        """What each of the new places sees [groups * count, places]."""
        places = torch.arange(start + count, device=self._turns.device)
        one = places[None] <= places[start:, None]
        return one.repeat(self._heads // self._key_heads, 1)

    def _norm(self, given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(given.float(), weight.shape, eps=self._eps).to(given.dtype) * weight

    def begin(self) -> Cache:
        """The cache of an answer before its first token."""
        words = self._at("words")
        shape = (len(self._layers), self._key_heads, self._context, self._size)
        keys, values = (torch.empty(shape, dtype=words.dtype, device=words.device) for _ in range(2))
        return Cache(keys, values)

    def _at(self, name: str) -> torch.Tensor:
        return self._weights[name.replace(".", "/")]
