"""A large model in float32 at the price of its 16-bit weights, which stay as given and are widened while they are used.

After LayerCast (Yuan et al., 2025).  One copy of the weights serves the reference and the honest computations.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import torch

WIDENED_BYTES = 12 * 10**9
"""Weights of more bytes than this are not copied into float32."""

_Stamp = tuple[tuple[str, int, int], ...]
_given: WeakValueDictionary[_Stamp, torch.nn.Module] = WeakValueDictionary()
"""Models as given, for as long as anybody uses them, by the files that they were read from."""


def load_as_given(folder: Path, dtype: str, attention: str, limit: int = WIDENED_BYTES) -> torch.nn.Module:
    """The Transformers model of a folder in evaluation mode: the weights as given, computing in `dtype`.

    With more than `limit` bytes of weights float32 is computed from the 16-bit ones, which all precisions share.
    """
    if not is_large(folder, limit):
        return _read(folder, dtype, attention)
    given = _shared(folder)
    return widened(given) if dtype == "float32" else given


def is_large(folder: Path, limit: int = WIDENED_BYTES) -> bool:
    """Whether the weights of a folder are kept once for all precisions."""
    return sum(size for _, size, _ in _stamp(folder)) > limit


def widened(model: torch.nn.Module) -> torch.nn.Module:
    """A twin of a model over the same matrices that computes in float32; vectors are copied, being small."""
    from torch import nn

    shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    twin: nn.Module = copy.deepcopy(model, shared)
    linear, embedding = _wide_classes()
    for module in twin.modules():
        if type(module) in (nn.Linear, nn.Embedding):
            module._parameters["given"] = module._parameters.pop("weight")
            module.__class__ = linear if isinstance(module, nn.Linear) else embedding
        for name, parameter in module._parameters.items():
            if parameter is not None and name != "given" and parameter.is_floating_point():
                module._parameters[name] = nn.Parameter(parameter.detach().float(), requires_grad=False)
    # Whoever keeps the twin keeps what it was made of, so that both are read once.
    twin.__dict__["given"] = model
    return twin.eval()


@cache
def _wide_classes() -> tuple[type[torch.nn.Linear], type[torch.nn.Embedding]]:
    import torch
    from torch.nn import functional

    class WideLinear(torch.nn.Linear):
        """Its matrix is kept as given and widened for each product."""

        @property
        def weight(self) -> torch.Tensor:  # type: ignore[override]
            return self._parameters["given"].float()  # type: ignore[union-attr]

    class WideEmbedding(torch.nn.Embedding):
        """Its rows are widened after they have been looked up."""

        @property
        def weight(self) -> torch.Tensor:  # type: ignore[override]
            return self._parameters["given"]  # type: ignore[return-value]

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return functional.embedding(input, self.weight).float()

    return WideLinear, WideEmbedding


def _shared(folder: Path) -> torch.nn.Module:
    stamp = _stamp(folder)
    model = _given.get(stamp)
    if model is None:
        model = _given[stamp] = _read(folder, "auto", "sdpa")
    return model


def _stamp(folder: Path) -> _Stamp:
    """The files of weights with sizes and times (ns): a folder that is written again is another model."""
    stated = ((path, path.stat()) for path in sorted(folder.glob("*.safetensors")))
    return tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in stated)


def _read(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    import torch
    from transformers import AutoModelForCausalLM

    precision: Any = dtype if dtype == "auto" else getattr(torch, dtype)
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=precision, attn_implementation=attention, local_files_only=True
    )
    return model.eval()
