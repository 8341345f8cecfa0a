"""Eager attention over long contexts, some queries at a time: the same sums without the whole matrix of weights."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "eager_in_parts"
LONG = 2048
"""Tokens from which on eager attention is computed in parts."""

PART = 256
"""Queries of one part: at 33,000 tokens and 30 heads its weights take 1 GB in float32."""


def fitting(attention: str, tokens: int) -> str:
    """The name by which Transformers knows an implementation that a context of so many tokens leaves room for."""
    if attention != "eager" or tokens <= LONG:
        return attention
    _register()
    return NAME


def in_parts(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
    *, scaling: float | None = None, part: int = PART, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention as Transformers' eager one, of `part` queries at a time; the result is [batch, queries, heads, size].

    Weights are formed in the model's precision, their softmax in float32.  Without a mask no query sees what follows.
    """
    import torch

    groups = query.shape[1] // key.shape[1]
    keys, values = (one.repeat_interleave(groups, 1) if groups > 1 else one for one in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    length, last = query.shape[2], key.shape[2]
    found = []
    for start in range(0, length, part):
        rows = query[:, :, start : start + part]
        stop = start + rows.shape[2]
        seen = _causal(last - length + start, last - length + stop, last, query) if mask is None else mask[
            :, :, start:stop, :last
        ]  # fmt: skip
        weights = torch.matmul(rows, keys.transpose(2, 3)) * scale + _added(seen, query.dtype)
        weights = torch.nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
        found.append(torch.matmul(weights, values))
    return torch.cat(found, 2).transpose(1, 2).contiguous(), None


def _causal(first: int, stop: int, last: int, like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.arange(last, device=like.device) <= torch.arange(first, stop, device=like.device)[:, None]


def _added(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the weights: nothing where a place is seen, the least number where it is not."""
    import torch

    if seen.dtype != torch.bool:
        return seen
    return torch.where(seen, torch.zeros((), dtype=dtype, device=seen.device), torch.finfo(dtype).min)


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, in_parts)
    # The mask of sdpa is left out where attention is causal and nothing else.
    AttentionMaskInterface.register(NAME, sdpa_mask)
