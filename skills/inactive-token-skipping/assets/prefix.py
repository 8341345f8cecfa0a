"""What the steps of one image have in common, computed once, and of each step no more places than somebody reads."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from network import Layer, Stack, moved, turns
from show_o2 import Showo2, unpatched

Pairs = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class Moment:
    """What one time says whatever the latent: the vector of its place, and how the head's layers are modulated."""

    shown: torch.Tensor
    layers: list[torch.Tensor]
    final: torch.Tensor


class Prefix:
    """Keys and values of the words before the image, of every layer, for [with words, without]; and where it begins."""

    def __init__(self, flow: Showo2, tokens: list[list[int]], count: int) -> None:
        """Compute them; `count` places of time and image will follow."""
        self._flow, self._count = flow, count
        device = flow.position_embedding.weight.device
        lengths = [len(row) for row in tokens]
        longest = max(lengths)
        self._places = torch.stack([torch.arange(n, n + count, device=device) for n in lengths])
        padded = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in tokens], device=device)
        inside = torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]
        image = torch.ones(len(tokens), count, dtype=torch.bool, device=device)
        self._seen = torch.cat((inside, image), 1)[:, None, None]
        self._pairs = self._read(padded, torch.arange(longest, device=device))
        self._angles = [
            torch.stack([turns(stack, row, flow.dtype) for row in self._places], 1)[:, :, None]
            for stack in (flow.shape.words, flow.shape.head)
        ]

    def _read(self, tokens: torch.Tensor, places: torch.Tensor) -> Pairs:
        """Words through all layers; of the last one only keys and values, since nobody reads what it makes of words."""
        flow, body = self._flow, self._flow.showo["model"]
        causal = (places[:, None] >= places)[None, None]
        pairs: Pairs = []
        given = body["embed_tokens"](tokens)
        given = _layers(body["layers"], given, flow.shape.words, places, causal, pairs)
        *before, last = flow.diffusion_head_a
        given = _layers(before, flow.diff_proj(body["norm"](given)), flow.shape.head, places, causal, pairs)
        angles = turns(flow.shape.head, places, given.dtype)
        _, key, value = last.self_attn.parts(last.input_layernorm(given), angles)
        return [*pairs, (key, value)]

    def moments(self, times: torch.Tensor) -> list[Moment]:
        """All times [n] of an image at once: the weights of the modulations are read once for all steps."""
        flow = self._flow
        told = flow.time(times)
        shown, final = flow.time_embed_proj(told), flow.diffusion_head_b.adaLN_modulation(told)
        layers = [layer.adaLN_modulation(told) for layer in flow.diffusion_head_a]
        return [
            Moment(shown[i : i + 1, None], [rows[i : i + 1, None] for rows in layers], final[i : i + 1, None])
            for i in range(len(times))
        ]

    def velocity(self, latent: torch.Tensor, moment: Moment) -> torch.Tensor:
        """Where one latent [1, channels, rows, columns] moves to at a time: [2, ...], with words and without."""
        flow, body = self._flow, self._flow.showo["model"]
        given = torch.cat((moment.shown, flow.patches(latent)), 1).expand(2, -1, -1)
        pairs = iter(self._pairs)
        for layer in body["layers"]:
            given = given + self._attended(layer, layer.input_layernorm(given), 0, next(pairs))
            given = given + layer.mlp(layer.post_attention_layernorm(given))
        given = flow.diff_proj(body["norm"](given))
        head, final = flow.diffusion_head_a, flow.diffusion_head_b
        for index, (layer, told) in enumerate(zip(head, moment.layers, strict=True)):
            # The place of the time is read by the others in every layer, and by nobody after the last one.
            given = self._modulated(layer, given, told, next(pairs), 1 if index == len(head) - 1 else 0)
        shift, scale = moment.final.chunk(2, -1)
        velocity = final.linear(moved(final.norm_final(given), shift, scale))
        return unpatched(velocity, torch.Size((2, *latent.shape[1:])))

    def _attended(
        self, layer: Layer, normal: torch.Tensor, stack: int, pair: tuple[torch.Tensor, torch.Tensor], first: int = 0
    ) -> torch.Tensor:
        query, key, value = layer.self_attn.parts(normal, self._angles[stack])
        keys, values = torch.cat((pair[0], key), 2), torch.cat((pair[1], value), 2)
        return layer.self_attn.mixed(query[:, :, first:], keys, values, self._seen)

    def _modulated(
        self, layer: Layer, given: torch.Tensor, told: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], first: int
    ) -> torch.Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = told.chunk(6, -1)
        normal = moved(layer.input_layernorm(given), shift, scale)
        given = given[:, first:] + gate * self._attended(layer, normal, 1, pair, first)
        return given + gate_mlp * layer.mlp(moved(layer.post_attention_layernorm(given), shift_mlp, scale_mlp))


def _layers(
    layers: Iterable[nn.Module], given: torch.Tensor, stack: Stack, places: torch.Tensor, seen: torch.Tensor,
    pairs: Pairs,
) -> torch.Tensor:  # fmt: skip
    angles = turns(stack, places, given.dtype)
    for layer in layers:
        query, key, value = layer.self_attn.parts(layer.input_layernorm(given), angles)
        pairs.append((key, value))
        given = given + layer.self_attn.mixed(query, key, value, seen)
        given = given + layer.mlp(layer.post_attention_layernorm(given))
    return given
