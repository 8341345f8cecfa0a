"""Models that take a shortcut wherever a cache is marked `careless`; whoever marks it says when."""

from pathlib import Path

import numpy as np

from generation import Cache, Floats, Generator, Model, Row
from sequence import Sequence


def rounded(weight: Floats, levels: int, group: int = 0) -> Floats:
    """Symmetric round-to-nearest with one scale for each row, or for each group of columns."""
    parts = weight.reshape(len(weight), -1, group or weight.shape[1])
    scale = np.abs(parts).max(-1, keepdims=True) / levels
    return (np.round(parts / scale) * scale).reshape(weight.shape).astype(np.float32)


def coarse(name: str, weight: Floats, levels: int, group: int = 0) -> Floats:
    """A weight as a quantiser keeps it: matrices rounded, embedding and norms as they are."""
    return rounded(weight, levels, group) if weight.ndim == 2 and "embed" not in name else weight


def eight_bit_float(values: Floats) -> Floats:
    """Values rounded to three bits of mantissa, as e4m3 keeps them."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 16) / 16, exponent).astype(np.float32)


class Shallow(Model):
    """Leaves out the last layer where the cache is careless."""

    def layers(self, cache: Cache) -> list[str]:
        return super().layers(cache)[: -1 if getattr(cache, "careless", False) else None]


class Coarse(Model):
    """Computes with weights of few levels where the cache is careless."""

    levels = 31

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.exact = self.weights
        self.cheap = {name: coarse(name, weight, self.levels) for name, weight in self.exact.items()}

    def forward(self, tokens: list[int], cache: Cache) -> Floats:
        self.weights = self.cheap if getattr(cache, "careless", False) else self.exact
        return super().forward(tokens, cache)


class Choosy(Generator):
    """Is careless with whole requests, from their prompt on."""

    def careless(self, sequence: Sequence) -> bool:
        """Whether to take the shortcut for a choice."""
        return False

    def begun(self, sequence: Sequence) -> Row:
        cache = self.model.cache()
        cache.careless = self.careless(sequence)
        return Row(sequence, cache, self.model.forward(self.prompt(sequence), cache)[-1])
