"""What the steps of one image have in common: the words, computed once, and two branches that share one latent."""

import torch
from torch import nn

from network import Layer, Stack, moved, turns
from show_o2 import Showo2, unpatched

Pairs = list[tuple[torch.Tensor, torch.Tensor]]


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
        """Words through all layers, each place seeing what came before it; they are not modulated."""
        flow, body = self._flow, self._flow.showo["model"]
        causal = (places[:, None] >= places)[None, None]
        pairs: Pairs = []
        given = body["embed_tokens"](tokens)
        given = _layers(body["layers"], given, flow.shape.words, places, causal, pairs)
        given = flow.diff_proj(body["norm"](given))
        _layers(flow.diffusion_head_a, given, flow.shape.head, places, causal, pairs)
        return pairs

    def velocity(self, latent: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Where one latent [1, channels, rows, columns] moves to at a time [1]: [2, ...], with words and without."""
        flow, body = self._flow, self._flow.showo["model"]
        told = flow.time(time)
        shown = torch.cat((flow.time_embed_proj(told)[:, None], flow.patches(latent)), 1)
        given = shown.expand(2, -1, -1)
        pairs = iter(self._pairs)
        for layer in body["layers"]:
            given = given + self._attended(layer, layer.input_layernorm(given), 0, next(pairs))
            given = given + layer.mlp(layer.post_attention_layernorm(given))
        given = flow.diff_proj(body["norm"](given))
        for layer in self._flow.diffusion_head_a:
            given = self._modulated(layer, given, told, next(pairs))
        velocity = flow.diffusion_head_b(given[:, 1:], told)
        return unpatched(velocity, torch.Size((2, *latent.shape[1:])))

    def _attended(
        self, layer: Layer, normal: torch.Tensor, stack: int, pair: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        query, key, value = layer.self_attn.parts(normal, self._angles[stack])
        keys, values = torch.cat((pair[0], key), 2), torch.cat((pair[1], value), 2)
        return layer.self_attn.mixed(query, keys, values, self._seen)

    def _modulated(
        self, layer: Layer, given: torch.Tensor, told: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = layer.adaLN_modulation(told)[:, None].chunk(6, -1)
        normal = moved(layer.input_layernorm(given), shift, scale)
        given = given + gate * self._attended(layer, normal, 1, pair)
        return given + gate_mlp * layer.mlp(moved(layer.post_attention_layernorm(given), shift_mlp, scale_mlp))


def _layers(
    layers: nn.ModuleList, given: torch.Tensor, stack: Stack, places: torch.Tensor, seen: torch.Tensor, pairs: Pairs
) -> torch.Tensor:
    angles = turns(stack, places, given.dtype)
    for layer in layers:
        query, key, value = layer.self_attn.parts(layer.input_layernorm(given), angles)
        pairs.append((key, value))
        given = given + layer.self_attn.mixed(query, key, value, seen)
        given = given + layer.mlp(layer.post_attention_layernorm(given))
    return given
