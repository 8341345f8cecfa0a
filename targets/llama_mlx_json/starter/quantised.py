"""The layout that MLX gives quantised weights, read into Transformers' Llama: eight bits become what they stand for."""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

QUANTISED = ("quantization", "quantization_config")
LARGE = 4 * 10**9
"""Bytes of files from which on matrices stay packed, and are multiplied out while they are used."""

AT_ONCE = 2**24
"""Numbers that are multiplied out at a time."""


class PackedLinear(nn.Linear):
    """Its matrix is multiplied out for each product; `numbers` [rows, columns] are whole and at most 255."""

    @property
    def weight(self) -> torch.Tensor:
        """The matrix in the precision of the products."""
        return spread(self.numbers, self.scales, self.biases, self.precision)


class PackedEmbedding(nn.Embedding):
    """Its rows are multiplied out after they have been looked up."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The rows of ids, in the precision of the products."""
        rows = input.flatten()
        found = spread(self.numbers[rows], self.scales[rows], self.biases[rows], self.precision)
        return found.view(*input.shape, -1)


def load(folder: Path, dtype: torch.dtype, attention: str = "sdpa", large: int = LARGE) -> LlamaForCausalLM:
    """The model in evaluation mode, computing in `dtype`: its weights multiplied out and rounded to that.

    With more than `large` bytes they stay packed.  Never is more than one matrix in memory beside the result.
    """
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = LlamaConfig(**{name: value for name, value in stated.items() if name not in QUANTISED})
    with torch.device("meta"):
        model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    # Angles are in no file; casting a whole model would round them too.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    stored, packing = Stored(folder), stated["quantization"]
    heads = ("lm_head",) if config.tie_word_embeddings else ()
    for name in stored:
        stem, _, kind = name.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        for place in (stem, *(heads if stem == "model.embed_tokens" else ())):
            if is_large(folder, large) and f"{stem}.scales" in stored:
                pack(model.get_submodule(place), stored, stem, packing["bits"], dtype)
            else:
                weight = unpacked_one(stored, name, packing["bits"], packing["group_size"], dtype)
                model.get_submodule(place).weight = nn.Parameter(weight, requires_grad=False)
    return model.eval()


def is_large(folder: Path, limit: int = LARGE) -> bool:
    """Whether the matrices of a folder stay packed."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) > limit


def pack(module: nn.Module, stored: Mapping[str, torch.Tensor], stem: str, bits: int, dtype: torch.dtype) -> None:
    """Give a layer packed numbers in place of its matrix; layers that share them share the memory."""
    del module._parameters["weight"]
    module.__class__ = PackedLinear if isinstance(module, nn.Linear) else PackedEmbedding
    parts = {"numbers": whole(stored[f"{stem}.weight"], bits)}
    parts |= {part: stored[f"{stem}.{part}"] for part in ("scales", "biases")}
    for name, tensor in parts.items():
        module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    module.precision = dtype


def twin(model: LlamaForCausalLM, dtype: torch.dtype) -> LlamaForCausalLM:
    """A packed model over the same numbers that computes in another precision; norms are copied, being small."""
    other = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for module in other.modules():
        if isinstance(module, PackedLinear | PackedEmbedding):
            module.precision = dtype
        else:
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
    return other.eval()


class Stored(Mapping[str, torch.Tensor]):
    """Every tensor of a folder by name, read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Read the names."""
        self._files: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = safe_open(path, framework="pt")
            self._files |= dict.fromkeys(file.keys(), file)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def unpacked(stored: Mapping[str, torch.Tensor], bits: int, group: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights in fp32 under their own names; packed ones come with `.scales` and `.biases`, one for each group."""
    for name in stored:
        if name.rpartition(".")[2] not in ("scales", "biases"):
            yield name, unpacked_one(stored, name, bits, group)


def unpacked_one(
    stored: Mapping[str, torch.Tensor], name: str, bits: int, group: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """One weight rounded to `dtype`, packed or not."""
    stem = name.rpartition(".")[0]
    if f"{stem}.scales" not in stored:
        return stored[name].to(dtype)
    return multiplied(stored[name], stored[f"{stem}.scales"], stored[f"{stem}.biases"], bits, group, dtype)


def multiplied(
    packed: torch.Tensor, scales: torch.Tensor, biases: torch.Tensor, bits: int, group: int,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:  # fmt: skip
    """Weights [rows, columns] of words of 32 bits [rows, columns * bits / 32], lowest bits first, some at a time."""
    columns = scales.shape[1] * group
    found = torch.empty(len(packed), columns, dtype=dtype)
    step = max(1, AT_ONCE // columns)
    for start in range(0, len(packed), step):
        rows = slice(start, start + step)
        found[rows] = spread(whole(packed[rows], bits), scales[rows], biases[rows], dtype)
    return found


def whole(words: torch.Tensor, bits: int) -> torch.Tensor:
    """The whole numbers [rows, columns] in a byte each; of eight bits the words are these bytes as they lie."""
    if bits == 8:
        return words.view(torch.uint8)
    parts = (words.view(torch.int32)[..., None] >> torch.arange(0, 32, bits)) & (2**bits - 1)
    return parts.to(torch.uint8).flatten(1)


def spread(numbers: torch.Tensor, scales: torch.Tensor, biases: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Weights [rows, columns] of numbers, each group of a row by its own scale and bias, computed in fp32."""
    grouped = numbers.view(*scales.shape, -1).float()
    return (grouped * scales.float()[..., None] + biases.float()[..., None]).flatten(1).to(dtype)


def packed(weight: torch.Tensor, bits: int, group: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weight [rows, columns] as words, scales and biases: each group spans its least to its largest number."""
    grouped = weight.float().view(len(weight), -1, group)
    least, most = grouped.amin(-1), grouped.amax(-1)
    scales = ((most - least) / (2**bits - 1)).clamp_min(1e-8).to(torch.bfloat16)
    biases = least.to(torch.bfloat16)
    numbers = (grouped - biases.float()[..., None]) / scales.float()[..., None]
    numbers = numbers.round().clamp(0, 2**bits - 1).to(torch.int64).view(len(weight), -1, 32 // bits)
    words = (numbers << torch.arange(0, 32, bits)).sum(-1)
    signed = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return signed.view(torch.uint32), scales, biases
