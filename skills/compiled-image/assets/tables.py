"""What an image needs that depends on its size and its steps alone: places, angles, times and what they modulate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpoint import Tensor, widened

Floats = npt.NDArray[np.float32]
SHIFT = 3.0
"""How much of the way is spent near the noise (`time_shifting_factor` of the published sampler)."""

TIME_WAVES = 256
LANES = 16


@dataclass(frozen=True, slots=True)
class Times:
    """Of each step: how long it lasts, the vector of the time's place, and how the head's layers are modulated."""

    lapses: Floats
    shown: Floats
    told: Floats


def times(weights: Mapping[str, Tensor], layers: int, steps: int) -> Times:
    """All steps of an image at once, in float32."""
    even = np.linspace(0, 1, steps + 1, dtype=np.float32)
    moments = (even / (even + SHIFT - SHIFT * even)).astype(np.float32)
    half = TIME_WAVES // 2
    angles = moments[:-1, None] * np.exp(-math.log(10_000) * np.arange(half, dtype=np.float32) / half)
    waves = np.concatenate((np.cos(angles), np.sin(angles)), -1).astype(np.float32)
    vector = _linear(weights, "time_embed.mlp.2", _silu(_linear(weights, "time_embed.mlp.0", waves)))
    shown = _linear(weights, "time_embed_proj", vector) if "time_embed_proj.weight" in weights else vector
    names = [f"diffusion_head_a.{layer}.adaLN_modulation.1" for layer in range(layers)]
    told = np.stack([_linear(weights, name, _silu(vector)) for name in names], 1)
    last = _linear(weights, "diffusion_head_b.adaLN_modulation.1", _silu(vector))
    return Times(np.diff(moments), np.ascontiguousarray(shown), np.concatenate((told.ravel(), last.ravel())))


def turns(stack: Mapping[str, Any], places: int, stretched: bool) -> Floats:
    """Cosines, and sines with the signs that a head's first and second half take them with: [places, 2, padded dim]."""
    dim = stack["head_dim"]
    rates = stack.get("rope", 10_000.0) ** -(np.arange(0, dim, 2, dtype=np.float32) / dim)
    if stretched:
        share = ((8192 * rates / (2 * math.pi) - 1.0) / (4.0 - 1.0)).clip(0, 1)
        rates = (1 - share) * rates / 32.0 + share * rates
    angles = np.arange(places, dtype=np.float32)[:, None] * rates.astype(np.float32)
    found = np.zeros((places, 2, -(-dim // LANES) * LANES), np.float32)
    found[:, 0, :dim] = np.tile(np.cos(angles), 2)
    found[:, 1, :dim] = np.concatenate((-np.sin(angles), np.sin(angles)), -1)
    return found


def grid(learnt: Tensor, rows: int, columns: int) -> Floats:
    """Learnt positions [n, hidden] of a square, stretched to rows and columns by cubic convolution, as patches lie."""
    side = math.isqrt(len(learnt))
    square = widened(learnt).reshape(side, side, -1)
    fitted = np.einsum("ra,cb,abh->rch", _stretch(side, rows), _stretch(side, columns), square)
    return np.ascontiguousarray(fitted.reshape(rows * columns, -1), np.float32)


def _stretch(given: int, wanted: int) -> Floats:
    """What each of the wanted places takes of each given one; Keys' kernel with -0.75, the ends held."""
    found = np.zeros((wanted, given), np.float32)
    for place in range(wanted):
        at = (place + 0.5) * given / wanted - 0.5
        for neighbour in range(math.floor(at) - 1, math.floor(at) + 3):
            found[place, min(max(neighbour, 0), given - 1)] += _keys(abs(at - neighbour))
    return found


def _keys(distance: float, slope: float = -0.75) -> float:
    if distance <= 1:
        return ((slope + 2) * distance - (slope + 3)) * distance * distance + 1
    if distance < 2:
        return (((distance - 5) * distance + 8) * distance - 4) * slope
    return 0.0


def _linear(weights: Mapping[str, Tensor], name: str, given: Floats) -> Floats:
    made: Floats = given @ widened(weights[f"{name}.weight"]).T + widened(weights[f"{name}.bias"])
    return made


def _silu(given: Floats) -> Floats:
    made: Floats = given / (1 + np.exp(-given))
    return made
