"""Ways to compute the same model: honest ones set the noise floor, forbidden ones must be told apart from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Linear = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor | None"], "torch.Tensor"]


@dataclass(frozen=True, slots=True)
class Variant:
    """How a forward pass departs from the plain one; the defaults are the fp32 reference itself.

    `splits` sums every matrix product in that many parts, each rounded; `weights` names a quantiser, with `head` of
    the output matrix alone; `skipped` leaves out one decoder layer; `rope` multiplies the rotary base; `shift` moves
    the positions of the generated tokens.
    """

    name: str
    dtype: str = "float32"
    attention: str = "sdpa"
    splits: int = 1
    weights: str = ""
    head: bool = False
    skipped: int | None = None
    rope: float = 1.0
    shift: int = 0


REFERENCE = Variant("fp32 reference")


def honest(dtype: str) -> tuple[Variant, ...]:
    """Three honest computations in the model's own precision; their largest error is the noise floor."""
    return (
        Variant(f"{dtype} eager", dtype, "eager"),
        Variant(f"{dtype} sdpa", dtype),
        Variant(f"{dtype} in two parts", dtype, splits=2),
    )


def worst_honest(dtype: str) -> Variant:
    """The noisiest computation that is still honest: every matrix product summed in eight rounded parts."""
    return Variant(f"{dtype} in eight parts", dtype, splits=8)


QUANTISERS = ("int8 per channel", "int8 in groups of 128", "int8 in groups of 32", "fp8", "int4 in groups of 32")


def fine(forbidden: Sequence[str]) -> tuple[Variant, ...]:
    """Those that lie so near the noise floor that their signature is looked for in every audit; none where allowed."""
    found = [Variant(name, weights=name) for name in QUANTISERS[:3] if name in forbidden]
    return (*found, Variant(f"{QUANTISERS[0]} in the output matrix", weights=QUANTISERS[0], head=True)) if found else ()


def quantised(dtype: str = "float32") -> tuple[Variant, ...]:
    """Every weight matrix rounded to fewer bits, as each of the quantisers does it."""
    return tuple(Variant(name, dtype, weights=name) for name in QUANTISERS)


def structural(layers: int) -> tuple[Variant, ...]:
    """Transformations that no rule allows: a layer left out, a wrong rotary base, positions off by one."""
    skipped = tuple(Variant(f"layer {layer} left out", skipped=layer) for layer in range(layers))
    return (*skipped, Variant("rotary base halved", rope=0.5), Variant("generated positions off by one", shift=1))


@contextmanager
def applied(model: torch.nn.Module, variant: Variant) -> Iterator[None]:
    """The model computes as the variant does inside the block, and as before after it."""
    patched: list[torch.nn.Module] = []
    linears = _linear_modules(model, variant.head) if variant.splits > 1 or variant.weights else []
    bases = _scaled_rope(model, variant.rope) if variant.rope != 1.0 else []
    try:
        for linear in linears:
            linear.__dict__["forward"] = partial(_linear, linear, variant)
            patched.append(linear)
        if variant.skipped is not None:
            layer = decoder_layers(model)[variant.skipped]
            layer.__dict__["forward"] = _unchanged
            patched.append(layer)
        yield
    finally:
        for module in patched:
            del module.__dict__["forward"]
        for buffer, factors in bases:
            buffer.div_(factors)


def decoder_layers(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The decoder's layers: the longest list of modules in the model."""
    from torch import nn

    return max((module for module in model.modules() if isinstance(module, nn.ModuleList)), key=len)


def round_weights(weight: torch.Tensor, quantiser: str) -> torch.Tensor:
    """The weights (rows are outputs) after symmetric round-to-nearest of the named kind, in their own dtype.

    int8 and int4 scale by the largest magnitude of a row or of a group within a row; fp8 is e4m3 with one scale.
    """
    import torch

    wide = weight.float()
    if quantiser == "fp8":
        scale = wide.abs().amax().clamp_min(1e-12) / 448
        return ((wide / scale).to(torch.float8_e4m3fn).float() * scale).to(weight.dtype)
    levels = 7 if quantiser.startswith("int4") else 127
    size = wide.shape[1] if quantiser.endswith("channel") else int(quantiser.rsplit(" ", 1)[1])
    grouped = wide.view(len(wide), -1, size if wide.shape[1] % size == 0 else wide.shape[1])
    scale = grouped.abs().amax(dim=2, keepdim=True).clamp_min(1e-12) / levels
    return (torch.round(grouped / scale) * scale).flatten(1).to(weight.dtype)


def _linear_modules(model: Any, head: bool) -> list[torch.nn.Linear]:
    from torch import nn

    if head:
        return [model.get_output_embeddings()]
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def _linear(module: torch.nn.Linear, variant: Variant, values: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import linear

    weight = round_weights(module.weight, variant.weights) if variant.weights else module.weight
    if variant.splits == 1:
        return linear(values, weight, module.bias)
    parts = zip(values.chunk(variant.splits, -1), weight.chunk(variant.splits, -1), strict=True)
    first, rest = next(parts), list(parts)
    total = linear(*first, module.bias)
    for part in rest:
        total = total + linear(*part)
    return total


def _unchanged(hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return hidden_states


def _scaled_rope(model: torch.nn.Module, factor: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
    import torch

    changed = []
    for name, buffer in model.named_buffers():
        if name.rsplit(".", 1)[-1] == "inv_freq":
            exponents = torch.arange(len(buffer), device=buffer.device, dtype=buffer.dtype) / len(buffer)
            factors = factor**-exponents
            buffer.mul_(factors)
            changed.append((buffer, factors))
    return changed
