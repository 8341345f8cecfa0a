"""Words and noise to pixels in MLX: the model's folder, the steps of the flow, and the decoder."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten
from tokenizers import Tokenizer

from network import Shape, Stack, Vision
from show_o2 import Showo2
from vae import Decoding, Vae, arranged

SHIFT = 3.0
"""How much of the way is spent near the noise (`time_shifting_factor` of the published sampler)."""


@dataclass(frozen=True, slots=True)
class Words:
    """Tokens of one image's words and of no words, [begin] ... [image] each."""

    begin: int
    image: int
    pad: int
    longest: int

    def before(self, words: list[int]) -> list[list[int]]:
        """What stands before the image, with words and without."""
        return [[self.begin, *kept, self.image] for kept in (words[: self.longest], [])]


class Painter:
    """The model with its decoder and its tokenizer; it belongs to the thread that makes it."""

    def __init__(self, folder: Path, dtype: mx.Dtype, compiled: bool | None = None) -> None:
        """Read the weights as given, to compute in `dtype` on Metal or CUDA where there is one, else on the CPU.

        There the step is not compiled unless asked for: each kernel would be one run of g++, and no image faster.
        """
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._shape, self._words = _shape(stated), Words(**stated["words"])
        self._flow, self._vae = Showo2(self._shape), Vae(_decoding(stated["vae"]))
        _load(self._flow, folder / "model.safetensors", dtype)
        _load(self._vae, folder / "vae.safetensors", dtype)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        is_compiled = mx.default_device() != mx.Device(mx.cpu) if compiled is None else compiled
        self._compiled = (mx.compile(self._flow.moved), mx.compile(self._vae)) if is_compiled else None

    def paint(self, prompt: str, noise: np.ndarray, steps: int, guidance: float) -> np.ndarray:
        """Pixels [height, width, 3] between 0 and 1 from noise [channels, rows, columns], by Euler's steps."""
        step, decode = self._parts(noise.shape[1:])
        latent = mx.array(np.ascontiguousarray(noise.transpose(1, 2, 0), dtype=np.float32))[None]
        words = self._words.before(self._tokenizer.encode(prompt, add_special_tokens=False).ids)
        memory = self._flow.memory(words, math.prod(noise.shape[1:]) // self._shape.patch**2 + 1)
        times = moments(steps)
        told = self._flow.moments(mx.array(times[:-1]))
        for (now, then), moment in zip(pairwise(times.tolist()), told, strict=True):
            latent = step(latent, mx.array(then - now), mx.array(guidance), moment, memory)
            # The next step is laid out while this one is computed.
            mx.async_eval(latent)
        return np.array(decode(latent)[0])

    def _parts(self, size: tuple[int, ...]) -> tuple[Any, Any]:
        """The step and the decoder: compiled for the size that the model has positions for, as written for others."""
        side = math.isqrt(self._shape.vision.positions) * self._shape.patch
        return (size == (side, side) and self._compiled) or (self._flow.moved, self._vae)


def moments(steps: int) -> np.ndarray:
    """Times [steps + 1] from noise (0) to image (1)."""
    even = np.linspace(0, 1, steps + 1, dtype=np.float32)
    return even / (even + SHIFT - SHIFT * even)


def _load(part: nn.Module, path: Path, dtype: mx.Dtype) -> None:
    held = mx.load(str(path))
    known = [name for name, _ in tree_flatten(part.parameters())]
    part.load_weights([(name, arranged(name, held[name]).astype(dtype)) for name in known])
    mx.eval(part.parameters())


def _shape(stated: dict[str, Any]) -> Shape:
    return Shape(
        stated["vocabulary"], stated["channels"], stated["patch"],
        Stack(**stated["llm"], bias=True), Stack(**stated["head"], stretched=True, qk_norm=True),
        Vision(**stated["vision"]),
    )  # fmt: skip


def _decoding(stated: dict[str, Any]) -> Decoding:
    return Decoding(**{name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()})
