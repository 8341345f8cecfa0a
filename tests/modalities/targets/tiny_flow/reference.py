"""A flow-matching image model small enough to draw in milliseconds: built from a seed, sharp enough to be judged."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, silu

HIDDEN, HEADS, LAYERS, CHANNELS, PATCH, WORDS = 64, 4, 2, 4, 8, 512


class Block(nn.Module):
    """Attention and an MLP over the places of the latent, scaled by what is drawn and when."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.out = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 2 * HIDDEN), nn.Linear(2 * HIDDEN, HIDDEN)
        self.scale = nn.Linear(HIDDEN, 2 * HIDDEN)

    def forward(self, places: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Places [n, HIDDEN] given the condition [HIDDEN]."""
        first, second = self.scale(told).chunk(2)
        given = normal(places) * (1 + first)
        query, key, value = (
            part.view(-1, HEADS, HIDDEN // HEADS).transpose(0, 1) for part in self.mixed(given).chunk(3, -1)
        )
        seen = scaled_dot_product_attention(query, key, value).transpose(0, 1).reshape(-1, HIDDEN)
        places = places + self.out(seen)
        return places + self.down(silu(self.up(normal(places) * (1 + second))))


class Flow(nn.Module):
    """The velocity of a latent [CHANNELS, rows, columns], and the decoder to pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, HIDDEN)
        self.inward, self.outward = nn.Linear(CHANNELS, HIDDEN), nn.Linear(HIDDEN, CHANNELS)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.pixels = nn.Linear(CHANNELS, PATCH * PATCH * 3)

    def velocity(self, latent: torch.Tensor, time: float, told: torch.Tensor) -> torch.Tensor:
        """Where the latent moves to at a time in [0, 1]."""
        _, rows, columns = latent.shape
        places = self.inward(latent.flatten(1).T) + grid(rows, columns).to(latent.dtype)
        told = told + waves(torch.tensor([time * 8.0]))[0].to(latent.dtype)
        for layer in self.layers:
            places = layer(places, told)
        return self.outward(normal(places)).T.reshape(latent.shape)

    def told(self, prompt: str) -> torch.Tensor:
        """The condition of a prompt: its words in their order."""
        ids = [zlib.crc32(f"{place} {word}".encode()) % WORDS for place, word in enumerate(prompt.split())]
        return self.words(torch.tensor(ids)).sum(0) / math.sqrt(max(1, len(ids)))

    def decoded(self, latent: torch.Tensor) -> np.ndarray:
        """Pixels [height, width, 3] of a latent."""
        _, rows, columns = latent.shape
        patches = self.pixels(latent.flatten(1).T).view(rows, columns, PATCH, PATCH, 3)
        return torch.sigmoid(patches.permute(0, 2, 1, 3, 4).reshape(rows * PATCH, columns * PATCH, 3)).float().numpy()


def normal(values: torch.Tensor) -> torch.Tensor:
    """Unit root mean square over the last dimension."""
    return values * torch.rsqrt(values.float().pow(2).mean(-1, keepdim=True) + 1e-6).to(values.dtype)


def waves(places: torch.Tensor) -> torch.Tensor:
    """Sines and cosines [n, HIDDEN] of places [n]."""
    angles = places[:, None] * torch.exp(-torch.arange(HIDDEN // 2) / 4)
    return torch.cat([angles.sin(), angles.cos()], -1)


def grid(rows: int, columns: int) -> torch.Tensor:
    """Where each place lies, the same for every size."""
    high, wide = torch.arange(rows) / rows * 8, torch.arange(columns) / columns * 8
    return (waves(high)[:, None] + waves(wide).flip(-1)[None]).reshape(-1, HIDDEN)


def build(folder: Path, *, seed: int) -> None:
    """Write weights drawn from the seed: normal, of the standard deviation 1.5 / sqrt(fan in)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: torch.randn(value.shape, generator=generator)
        * (1.5 / math.sqrt(value.shape[-1]) if value.dim() > 1 else 0)
        for name, value in Flow().state_dict().items()
    }
    drawn["words.weight"] *= math.sqrt(HIDDEN) / 1.5
    save_file({name: value.to(torch.bfloat16) for name, value in drawn.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny-flow"}), encoding="utf-8")


def load(folder: Path, dtype: str, attention: str) -> nn.Module:
    """The model, computing in `dtype`; it has one attention."""
    model = Flow().to(getattr(torch, dtype))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def generate(model: Flow, prompt: str, noise: np.ndarray, settings: Any) -> np.ndarray:
    """Euler steps from noise to image, guided away from the empty prompt."""
    latent, dtype = torch.from_numpy(noise).float(), next(model.parameters()).dtype
    told, empty = model.told(prompt), torch.zeros(HIDDEN, dtype=dtype)
    for step in range(settings.steps):
        time, given = step / settings.steps, latent.to(dtype)
        aside = model.velocity(given, time, empty).float()
        towards = model.velocity(given, time, told).float()
        latent = latent + (aside + settings.guidance * (towards - aside)) / settings.steps
    return model.decoded(latent.to(dtype))
