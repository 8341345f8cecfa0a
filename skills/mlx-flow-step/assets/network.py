"""The parts of Show-o2 in MLX: layers of the language model and of the flow head, semantic layers, and positions.

Parameters are named as in the published checkpoint; latents have their channels last.  Activations and modulations are
computed in fp32, since MLX rounds after every operator of a narrower type.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mlx import nn

TIME_WAVES = 256
SHARPNESS = -0.75
"""The constant of bicubic interpolation (Keys 1981) that the published positions are stretched with."""

Pair = tuple[mx.array, mx.array]


@dataclass(frozen=True, slots=True)
class Stack:
    """Dimensions of one stack of layers; `rope` is the rotary base, `stretched` the scaling of Llama 3."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    rope: float = 10_000.0
    eps: float = 1e-6
    stretched: bool = False
    bias: bool = False
    qk_norm: bool = False


@dataclass(frozen=True, slots=True)
class Vision:
    """Dimensions of the semantic layers; `positions` are learnt for a square of so many patches."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    positions: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of the whole; a patch is `patch` latent places wide and high, of `channels` numbers each."""

    vocabulary: int
    channels: int
    patch: int
    words: Stack
    head: Stack
    vision: Vision


def widely(function: Callable[[mx.array], mx.array]) -> Callable[[mx.array], mx.array]:
    """The function computed in fp32, its result of the type that was given."""
    return lambda values: function(values.astype(mx.float32)).astype(values.dtype)


silu = widely(lambda wide: wide * mx.sigmoid(wide))
gelu = widely(lambda wide: wide * (1 + mx.erf(wide / math.sqrt(2))) / 2)
gelu_tanh = widely(lambda wide: wide * (1 + mx.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))) / 2)


class Activation(nn.Module):
    """A function of each number, where the checkpoint counts a layer without parameters."""

    def __init__(self, function: Callable[[mx.array], mx.array]) -> None:
        super().__init__()
        self._function = function

    def __call__(self, values: mx.array) -> mx.array:
        """Of the same shape."""
        return self._function(values)


def through(layers: Sequence[Callable[[mx.array], mx.array]], values: mx.array) -> mx.array:
    """The values through one layer after the other."""
    for layer in layers:
        values = layer(values)
    return values


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self._heads, self._kv_heads, self._size = stack.heads, stack.kv_heads, stack.head_dim
        self._waves = waves(stack)
        self.q_proj = nn.Linear(stack.hidden, stack.heads * stack.head_dim, bias=stack.bias)
        self.k_proj = nn.Linear(stack.hidden, stack.kv_heads * stack.head_dim, bias=stack.bias)
        self.v_proj = nn.Linear(stack.hidden, stack.kv_heads * stack.head_dim, bias=stack.bias)
        self.o_proj = nn.Linear(stack.heads * stack.head_dim, stack.hidden, bias=False)
        self.q_norm = nn.RMSNorm(stack.head_dim, eps=1e-6) if stack.qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(stack.head_dim, eps=1e-6) if stack.qk_norm else nn.Identity()

    def parts(self, given: mx.array, starts: mx.array | int) -> tuple[mx.array, mx.array, mx.array]:
        """Query, key and value [b, heads, n, size] of places from `starts` [b] on, turned to them."""
        query = self.q_norm(self._split(self.q_proj(given), self._heads))
        key = self.k_norm(self._split(self.k_proj(given), self._kv_heads))
        return self._turned(query, starts), self._turned(key, starts), self._split(self.v_proj(given), self._kv_heads)

    def mixed(self, query: mx.array, key: mx.array, value: mx.array, seen: mx.array | str) -> mx.array:
        """What the places see, mixed: [b, n, hidden]."""
        found = mx.fast.scaled_dot_product_attention(query, key, value, scale=self._size**-0.5, mask=seen)
        return self.o_proj(found.transpose(0, 2, 1, 3).flatten(2))

    def _split(self, values: mx.array, heads: int) -> mx.array:
        return values.reshape(*values.shape[:2], heads, self._size).transpose(0, 2, 1, 3)

    def _turned(self, values: mx.array, starts: mx.array | int) -> mx.array:
        return mx.fast.rope(
            values, self._size, traditional=False, base=None, scale=1.0, offset=starts, freqs=self._waves
        )


class Gated(nn.Module):
    """The gated MLP."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.up_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.down_proj = nn.Linear(stack.intermediate, stack.hidden, bias=False)

    def __call__(self, given: mx.array) -> mx.array:
        """Each place for itself."""
        return self.down_proj(silu(self.gate_proj(given)) * self.up_proj(given))


class Layer(nn.Module):
    """A layer of the language model, or, with a modulation, of the flow head."""

    def __init__(self, stack: Stack, modulated: bool) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(stack), Gated(stack)
        self.input_layernorm = nn.RMSNorm(stack.hidden, eps=stack.eps)
        self.post_attention_layernorm = nn.RMSNorm(stack.hidden, eps=stack.eps)
        if modulated:
            self.adaLN_modulation = [Activation(silu), nn.Linear(stack.hidden, 6 * stack.hidden)]

    def read(self, given: mx.array) -> tuple[mx.array, Pair]:
        """Words from place 0 on, each seeing what came before it, and their keys and values; not modulated."""
        query, key, value = self.self_attn.parts(self.input_layernorm(given), 0)
        given = given + self.self_attn.mixed(query, key, value, "causal")
        return given + self.mlp(self.post_attention_layernorm(given)), (key, value)

    def kept(self, given: mx.array) -> Pair:
        """Keys and values of words alone, for a layer whose result nobody reads."""
        return self.self_attn.parts(self.input_layernorm(given), 0)[1:]

    def shown(self, given: mx.array, pair: Pair, starts: mx.array, seen: mx.array) -> mx.array:
        """Places of time and image behind the words of a pair."""
        given = given + self._attended(self.input_layernorm(given), pair, starts, seen)
        return given + self.mlp(self.post_attention_layernorm(given))

    def modulated(
        self, given: mx.array, told: mx.array, memory: tuple[Pair, mx.array, mx.array], first: int
    ) -> mx.array:
        """The same with shifts, scales and gates [1, 1, 6 * hidden], for the places from `first` on."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = mx.split(told, 6, -1)
        normal = moved(self.input_layernorm(given), shift, scale)
        given = given[:, first:] + gate * self._attended(normal, *memory, first)
        return given + gate_mlp * self.mlp(moved(self.post_attention_layernorm(given), shift_mlp, scale_mlp))

    def _attended(self, normal: mx.array, pair: Pair, starts: mx.array, seen: mx.array, first: int = 0) -> mx.array:
        query, key, value = self.self_attn.parts(normal, starts)
        keys, values = (mx.concatenate(both, 2) for both in zip(pair, (key, value), strict=True))
        return self.self_attn.mixed(query[:, :, first:], keys, values, seen)


class Semantic(nn.Module):
    """A layer of SigLIP's vision tower."""

    def __init__(self, vision: Vision) -> None:
        super().__init__()
        self._heads = vision.heads
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(vision.hidden, eps=1e-6) for _ in range(2))
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        self.self_attn = {name: nn.Linear(vision.hidden, vision.hidden) for name in names}
        self.mlp = {
            "fc1": nn.Linear(vision.hidden, vision.intermediate), "fc2": nn.Linear(vision.intermediate, vision.hidden),
        }  # fmt: skip

    def __call__(self, given: mx.array) -> mx.array:
        """Patches [b, n, hidden], all of which see each other."""
        normal, attend = self.layer_norm1(given), self.self_attn
        query, key, value = (
            attend[name](normal).reshape(*given.shape[:2], self._heads, -1).transpose(0, 2, 1, 3)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        seen = mx.fast.scaled_dot_product_attention(query, key, value, scale=query.shape[-1] ** -0.5)
        given = given + attend["out_proj"](seen.transpose(0, 2, 1, 3).flatten(2))
        return given + self.mlp["fc2"](gelu_tanh(self.mlp["fc1"](self.layer_norm2(given))))


def moved(values: mx.array, shift: mx.array, scale: mx.array) -> mx.array:
    """Scaled and shifted, in fp32."""
    wide = values.astype(mx.float32) * (1 + scale.astype(mx.float32)) + shift.astype(mx.float32)
    return wide.astype(values.dtype)


def waves(stack: Stack) -> mx.array:
    """Places [head_dim / 2] in which each pair of numbers is turned by one radian, as MLX takes them."""
    rates = stack.rope ** -(np.arange(0, stack.head_dim, 2) / stack.head_dim)
    if stack.stretched:
        share = np.clip((8192 * rates / (2 * math.pi) - 1.0) / (4.0 - 1.0), 0, 1)
        rates = (1 - share) * rates / 32.0 + share * rates
    return mx.array((1 / rates).astype(np.float32))


def time_waves(time: mx.array) -> mx.array:
    """Cosines and sines [n, TIME_WAVES] of times between 0 and 1."""
    half = TIME_WAVES // 2
    angles = time[:, None] * mx.exp(-math.log(10_000) * mx.arange(half) / half)
    return mx.concatenate((mx.cos(angles), mx.sin(angles)), -1)


def grid(learnt: mx.array, rows: int, columns: int) -> mx.array:
    """Learnt positions [n, hidden] of a square, stretched to rows and columns: [rows * columns, hidden]."""
    side = math.isqrt(len(learnt))
    if (rows, columns) == (side, side):
        return learnt
    square = learnt.astype(mx.float32).reshape(side, -1)
    tall = (bicubic(side, rows) @ square).reshape(rows, side, -1)
    return (bicubic(side, columns) @ tall).reshape(rows * columns, -1).astype(learnt.dtype)


def bicubic(inward: int, outward: int) -> mx.array:
    """The weights [outward, inward] that stretch a line; beyond its ends it goes on as it ends."""
    middle = (np.arange(outward) + 0.5) * inward / outward - 0.5
    weights = np.zeros((outward, inward))
    for step in range(-1, 3):
        place = np.floor(middle) + step
        far = np.abs(middle - place)
        near = ((SHARPNESS + 2) * far - (SHARPNESS + 3)) * far**2 + 1
        outer = ((SHARPNESS * far - 5 * SHARPNESS) * far + 8 * SHARPNESS) * far - 4 * SHARPNESS
        held = np.clip(place, 0, inward - 1).astype(int)
        np.add.at(weights, (np.arange(outward), held), np.where(far <= 1, near, outer))
    return mx.array(weights.astype(np.float32))
