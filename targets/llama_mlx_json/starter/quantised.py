"""The layout that MLX gives quantised weights, read into Transformers' Llama: eight bits become what they stand for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

QUANTISED = ("quantization", "quantization_config")


def load(folder: Path, dtype: torch.dtype, attention: str = "sdpa") -> LlamaForCausalLM:
    """The model in evaluation mode, its weights multiplied out and rounded to `dtype`."""
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    packing = stated["quantization"]
    config = LlamaConfig(**{name: value for name, value in stated.items() if name not in QUANTISED})
    # Casting a whole model would round its rotary angles too.
    model: LlamaForCausalLM = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    stored = dict(tensors(folder))
    weights = dict(unpacked(stored, packing["bits"], packing["group_size"]))
    if config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    model.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()})
    return model.eval()


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a folder by name."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (not a mapping)
                yield name, stored.get_tensor(name)


def unpacked(stored: Mapping[str, torch.Tensor], bits: int, group: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights under their own names; packed ones come with `.scales` and `.biases`, one for each group of a row."""
    for name, tensor in stored.items():
        stem, _, kind = name.rpartition(".")
        if kind in ("scales", "biases"):
            continue
        if f"{stem}.scales" in stored:
            yield name, multiplied(tensor, stored[f"{stem}.scales"], stored[f"{stem}.biases"], bits, group)
        else:
            yield name, tensor


def multiplied(packed: torch.Tensor, scales: torch.Tensor, biases: torch.Tensor, bits: int, group: int) -> torch.Tensor:
    """Weights [rows, columns] in fp32 of words of 32 bits [rows, columns * bits / 32], the lowest bits first."""
    words = packed.view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    places = torch.arange(0, 32, bits)
    numbers = (words[..., None] >> places) & (2**bits - 1)
    grouped = numbers.view(len(packed), -1, group).float()
    return (grouped * scales.float()[..., None] + biases.float()[..., None]).flatten(1)


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
