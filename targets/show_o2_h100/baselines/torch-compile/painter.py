"""Words and noise to pixels: the model's folder, the steps of the flow, and the decoder."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from network import Attention, Shape, Stack, Vision
from show_o2 import Showo2
from vae import Decoding, Vae, cut

SHIFT = 3.0
"""How much of the way is spent near the noise (`time_shifting_factor` of the published sampler)."""


@dataclass(frozen=True, slots=True)
class Words:
    """Tokens of one image's words and of no words, [begin] ... [image] each; padding stands behind the image."""

    begin: int
    image: int
    pad: int
    longest: int

    def sequences(self, words: list[int], places: int) -> tuple[torch.Tensor, list[int]]:
        """Two sequences [2, n] with room for so many places of the image, and where it begins in each."""
        rows, starts = [], []
        for kept in (words[: self.longest], []):
            row = [self.begin, *kept, self.image]
            starts.append(len(row))
            rows.append(row + [self.pad] * (places + self.longest + 2 - len(kept)))
        return torch.tensor(rows), starts


class Painter(nn.Module):
    """The model with its decoder and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's config and tokenizer; `load` reads the weights."""
        super().__init__()
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.flow, self.vae = Showo2(_shape(stated)), Vae(_decoding(stated["vae"]))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.words = Words(**stated["words"])

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, eager: bool = False) -> "Painter":
        """The weights as given, computing in `dtype`."""
        with torch.device("meta"):
            painter = cls(folder)
        flow, vae = load_file(folder / "model.safetensors"), load_file(folder / "vae.safetensors")
        known = painter.flow.state_dict()
        painter.flow.load_state_dict({name: flow[name].to(dtype) for name in known}, assign=True)
        decoder = {name: cut(name, vae[name]).to(dtype) for name in painter.vae.state_dict()}
        painter.vae.load_state_dict(decoder, assign=True)
        decoding = _decoding(json.loads((folder / "config.json").read_text(encoding="utf-8"))["vae"])
        painter.vae.mean = torch.tensor(decoding.mean).view(-1, 1, 1)
        painter.vae.deviation = torch.tensor(decoding.deviation).view(-1, 1, 1)
        for module in painter.modules():
            if isinstance(module, Attention):
                module.eager = eager
        return painter.eval()

    def paint(self, prompt: str, noise: np.ndarray, steps: int, guidance: float) -> np.ndarray:
        """Pixels [height, width, 3] between 0 and 1 from noise [channels, rows, columns], by Euler's steps."""
        latent = torch.from_numpy(noise).float()[None].to(self.vae.mean.device)
        places = latent[0, 0].numel() // self.flow.shape.patch**2 + 1
        tokens, starts = self.words.sequences(self.tokenizer.encode(prompt, add_special_tokens=False).ids, places)
        tokens = tokens.to(latent.device)
        times = moments(steps)
        for now, then in pairwise(times):
            both = latent.to(self.flow.dtype).expand(2, -1, -1, -1)
            told = self.flow.velocity(both, now.expand(2).to(latent.device), tokens, starts).float()
            latent = latent + (then - now) * (told[1:] + guidance * (told[:1] - told[1:]))
        return self.vae(latent)[0].cpu().numpy()


def moments(steps: int) -> torch.Tensor:
    """Times [steps + 1] from noise (0) to image (1)."""
    even = torch.linspace(0, 1, steps + 1)
    return even / (even + SHIFT - SHIFT * even)


def _shape(stated: dict[str, Any]) -> Shape:
    return Shape(
        stated["vocabulary"], stated["channels"], stated["patch"],
        Stack(**stated["llm"], bias=True), Stack(**stated["head"], stretched=True, qk_norm=True),
        Vision(**stated["vision"]),
    )  # fmt: skip


def _decoding(stated: dict[str, Any]) -> Decoding:
    return Decoding(**{name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()})
