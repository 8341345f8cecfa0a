"""Reads the folder of a Llama or a Qwen3: what config.json asks for, and the bfloat16 tensors of its files."""

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.uint16]
KINDS = ("llama", "qwen3")


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes and constants of a model; `eos_ids` may be empty, `context` is the most positions it was made for.

    `frequencies` [head_dim / 2] are those of the rotary embedding; `normed` says that each head's queries and keys are
    normalised before it.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    context: int
    epsilon: float
    frequencies: npt.NDArray[np.float32]
    tied: bool
    normed: bool
    eos_ids: tuple[int, ...]


def read_architecture(folder: Path) -> Architecture:
    """Return the architecture of `folder`; ValueError names what the compiled step does not compute."""
    config = json.loads((folder / "config.json").read_text())
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    architecture = Architecture(
        hidden=int(config["hidden_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        intermediate=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        context=int(config["max_position_embeddings"]),
        epsilon=float(config["rms_norm_eps"]),
        frequencies=_frequencies(config, head_dim),
        tied=bool(config.get("tie_word_embeddings")),
        normed=config.get("model_type") == "qwen3",
        eos_ids=_eos_ids(folder, config),
    )
    _refuse_unsupported(config, architecture)
    return architecture


def _frequencies(config: dict[str, Any], head_dim: int) -> npt.NDArray[np.float32]:
    """The rotary frequencies [head_dim / 2]; settings are in `rope_parameters`, in older files at the top.

    Of the kind `llama3` (Llama 3.1's stretching of the context) long waves are slowed down by `factor`, short ones are
    not, and those between are mixed.
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"config.json: rope type {kind!r} is not supported, only 'default' and 'llama3'")
    theta = np.float32(scaling.get("rope_theta", config.get("rope_theta", 10000.0)))
    plain = 1 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    if kind == "default":
        return plain.astype(np.float32)
    waves = scaling["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    kept = np.clip((waves - low) / (high - low), 0, 1)
    return ((1 - kept) * plain / float(scaling["factor"]) + kept * plain).astype(np.float32)


def _eos_ids(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    generation = folder / "generation_config.json"
    settings = json.loads(generation.read_text()) if generation.exists() else {}
    ids = settings.get("eos_token_id", config.get("eos_token_id"))
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list) else (int(ids),)


def _refuse_unsupported(config: dict[str, Any], a: Architecture) -> None:
    if config.get("model_type") not in KINDS:
        kinds = " and ".join(map(repr, KINDS))
        raise ValueError(f"config.json: model_type {config.get('model_type')!r} is not supported, only {kinds}")
    if config.get("hidden_act", "silu") != "silu":
        raise ValueError(f"config.json: hidden_act {config['hidden_act']!r} is not supported, only 'silu'")
    for extra in ("attention_bias", "mlp_bias", "use_sliding_window"):
        if config.get(extra):
            raise ValueError(f"config.json: {extra} is not supported")
    for name in ("hidden", "head_dim", "intermediate"):
        if getattr(a, name) % 16:
            raise ValueError(f"config.json: {name} of {getattr(a, name)} is no multiple of 16")
    if a.heads % a.kv_heads or a.heads // a.kv_heads > 16:
        raise ValueError(f"config.json: {a.heads} heads over {a.kv_heads} key heads are not supported")


class Checkpoint:
    """The tensors of a folder by name, as read-only views of bfloat16 bits on the mapped files."""

    def __init__(self, folder: Path) -> None:
        """Map model.safetensors, or the files that model.safetensors.index.json lists."""
        index = folder / "model.safetensors.index.json"
        names = {"model.safetensors"}
        if index.exists():
            names = set(json.loads(index.read_text())["weight_map"].values())
        self._tensors: dict[str, Tensor] = {}
        for name in sorted(names):
            self._map(folder / name)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the bits of `name`; ValueError when it is absent or of another shape."""
        if name not in self._tensors:
            raise ValueError(f"the checkpoint holds no bfloat16 tensor {name}")
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tensor.shape}, config.json asks for {shape}")
        return tensor

    def refuse_biases(self) -> None:
        """Raise ValueError when a tensor is an additive bias, which the step would leave out."""
        for name in self._tensors:
            if name.endswith(".bias"):
                raise ValueError(f"{name}: biases are not supported")

    def _map(self, path: Path) -> None:
        """Index one file: 8 bytes of header length, a JSON header, then the data that its offsets count from."""
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name == "__metadata__" or name.endswith("rotary_emb.inv_freq"):
                continue
            if entry["dtype"] != "BF16":
                raise ValueError(f"{name} is {entry['dtype']}; the compiled step takes bfloat16 weights as they are")
            begin, end = entry["data_offsets"]
            bits = np.frombuffer(data, np.uint16, (end - begin) // 2, start + begin)
            self._tensors[name] = bits.reshape(entry["shape"])
