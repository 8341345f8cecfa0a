"""Show-o2: a language model that reads the words and the noisy image, and a head that says where the image moves to.

Parameters are named as in the published checkpoint; sequences are [begin] words [image] time patches, with the
published mask: words see what came before them, time and patches also each other.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention, silu

TIME_WAVES = 256


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


class Norm(nn.Module):
    """Unit root mean square over the last dimension, in fp32."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The values, normalised and weighted."""
        wide = values.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(values.dtype)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions; `eager` forms the whole matrix of weights."""

    eager = False

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = stack.heads, stack.kv_heads, stack.head_dim
        self.q_proj = nn.Linear(stack.hidden, stack.heads * stack.head_dim, bias=stack.bias)
        self.k_proj = nn.Linear(stack.hidden, stack.kv_heads * stack.head_dim, bias=stack.bias)
        self.v_proj = nn.Linear(stack.hidden, stack.kv_heads * stack.head_dim, bias=stack.bias)
        self.o_proj = nn.Linear(stack.heads * stack.head_dim, stack.hidden, bias=False)
        self.q_norm = Norm(stack.head_dim) if stack.qk_norm else nn.Identity()
        self.k_norm = Norm(stack.head_dim) if stack.qk_norm else nn.Identity()

    def forward(self, given: torch.Tensor, turns: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Given [b, n, hidden], turns [2, n, size] (cosines, sines) and what each place sees [b, 1, n, n]."""
        query, key, value = self.parts(given, turns)
        return self.mixed(query, key, value, seen)

    def parts(self, given: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value [b, heads, n, size], turned to their places."""
        batch, length, _ = given.shape
        query = self.q_norm(self.q_proj(given).view(batch, length, self.heads, self.size).transpose(1, 2))
        key = self.k_norm(self.k_proj(given).view(batch, length, self.kv_heads, self.size).transpose(1, 2))
        value = self.v_proj(given).view(batch, length, self.kv_heads, self.size).transpose(1, 2)
        return turned(query, turns), turned(key, turns), value

    def mixed(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """What the places see, mixed."""
        batch, _, length, _ = query.shape
        groups = self.heads // self.kv_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        if self.eager:
            scores = (query @ key.transpose(2, 3)) / math.sqrt(self.size)
            weights = scores.masked_fill(~seen, -math.inf).softmax(-1, dtype=torch.float32).to(query.dtype)
            found = weights @ value
        else:
            found = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.o_proj(found.transpose(1, 2).reshape(batch, length, -1))


class Gated(nn.Module):
    """The gated MLP."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.up_proj = nn.Linear(stack.hidden, stack.intermediate, bias=False)
        self.down_proj = nn.Linear(stack.intermediate, stack.hidden, bias=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Each place for itself."""
        return self.down_proj(silu(self.gate_proj(given)) * self.up_proj(given))


class Layer(nn.Module):
    """A layer of the language model, or, with a modulation, of the flow head."""

    def __init__(self, stack: Stack, modulated: bool) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(stack), Gated(stack)
        self.input_layernorm = Norm(stack.hidden, stack.eps)
        self.post_attention_layernorm = Norm(stack.hidden, stack.eps)
        if modulated:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(stack.hidden, 6 * stack.hidden))

    def forward(self, given: torch.Tensor, turns: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Without a modulation."""
        given = given + self.self_attn(self.input_layernorm(given), turns, seen)
        return given + self.mlp(self.post_attention_layernorm(given))

    def told(self, time: torch.Tensor, image: torch.Tensor) -> list[torch.Tensor]:
        """Shift, scale and gate, twice [b, n, hidden]: of the time where the image is, neutral elsewhere."""
        neutral = (0, 0, 1, 0, 0, 1)
        chunks = self.adaLN_modulation(time).chunk(6, -1)
        return [n + image[..., None] * (chunk[:, None] - n) for n, chunk in zip(neutral, chunks, strict=True)]

    def modulated(
        self, given: torch.Tensor, turns: torch.Tensor, seen: torch.Tensor, told: list[torch.Tensor]
    ) -> torch.Tensor:
        """With one."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = told
        given = given + gate * self.self_attn(moved(self.input_layernorm(given), shift, scale), turns, seen)
        return given + gate_mlp * self.mlp(moved(self.post_attention_layernorm(given), shift_mlp, scale_mlp))


class Semantic(nn.Module):
    """A layer of SigLIP's vision tower."""

    def __init__(self, vision: Vision) -> None:
        super().__init__()
        self.heads = vision.heads
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(vision.hidden, 1e-6), nn.LayerNorm(vision.hidden, 1e-6)
        self.self_attn = nn.ModuleDict(
            {name: nn.Linear(vision.hidden, vision.hidden) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(vision.hidden, vision.intermediate), "fc2": nn.Linear(vision.intermediate, vision.hidden)}
        )

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Patches [b, n, hidden], all of which see each other."""
        batch, length, hidden = given.shape
        normal, attend = self.layer_norm1(given), self.self_attn
        query, key, value = (
            attend[name](normal).view(batch, length, self.heads, -1).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        seen = scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, hidden)
        given = given + attend["out_proj"](seen)
        return given + self.mlp["fc2"](gelu(self.mlp["fc1"](self.layer_norm2(given)), approximate="tanh"))


class Patches(nn.Module):
    """Patches of a latent as vectors."""

    def __init__(self, channels: int, patch: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, hidden, kernel_size=patch, stride=patch)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """From [b, channels, rows, columns] to [b, patches, hidden]."""
        return self.proj(latent).flatten(2).transpose(1, 2)


class Final(nn.Module):
    """The head's last layer: places to the numbers of their patch."""

    def __init__(self, hidden: int, numbers: int) -> None:
        super().__init__()
        self.norm_final, self.linear = Norm(hidden), nn.Linear(hidden, numbers)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, given: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Patches only."""
        shift, scale = self.adaLN_modulation(time)[:, None].chunk(2, -1)
        return self.linear(moved(self.norm_final(given), shift, scale))


def moved(values: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Scaled and shifted, in fp32."""
    return (values.float() * (1 + scale.float()) + shift.float()).to(values.dtype)


def turned(values: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """The values [b, heads, n, size], turned by their places' angles."""
    first, second = values.chunk(2, -1)
    return values * turns[0] + torch.cat((-second, first), -1) * turns[1]


def turns(stack: Stack, places: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cosines and sines [2, n, size] of places."""
    rates = stack.rope ** -(torch.arange(0, stack.head_dim, 2, device=places.device).float() / stack.head_dim)
    if stack.stretched:
        waves = 2 * math.pi / rates
        share = ((8192 / waves - 1.0) / (4.0 - 1.0)).clamp(0, 1)
        rates = (1 - share) * rates / 32.0 + share * rates
    angles = (places.float()[:, None] * rates).repeat(1, 2)
    return torch.stack((angles.cos(), angles.sin())).to(dtype)


def time_waves(time: torch.Tensor) -> torch.Tensor:
    """Cosines and sines [n, TIME_WAVES] of times between 0 and 1."""
    half = TIME_WAVES // 2
    angles = time[:, None].float() * torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    return torch.cat((angles.cos(), angles.sin()), -1)


def grid(learnt: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Learnt positions [n, hidden] of a square, stretched to rows and columns: [rows * columns, hidden]."""
    side = math.isqrt(len(learnt))
    square = learnt.view(1, side, side, -1).permute(0, 3, 1, 2)
    fitted = interpolate(square.float(), size=(rows, columns), mode="bicubic", align_corners=False)
    return fitted.to(learnt.dtype).permute(0, 2, 3, 1).reshape(rows * columns, -1)
