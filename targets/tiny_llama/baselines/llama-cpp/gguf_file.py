"""A Llama folder as a GGUF file: the weights in their own 16 or 32 bits, and no vocabulary, for ids are all it sees."""

import json
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors import safe_open

ARCHITECTURE = gguf.MODEL_ARCH.LLAMA
KINDS = {torch.bfloat16: gguf.GGMLQuantizationType.BF16}


def write(folder: Path, path: Path) -> None:
    """Convert config.json and model*.safetensors; ValueError when the folder is not a plain Llama."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10000.0)}
    unknown = [name for name in ("attention_bias", "mlp_bias") if config.get(name)]
    if config["model_type"] != "llama" or rope.get("rope_type", "default") != "default" or unknown:
        raise ValueError(f"only a plain Llama is converted, not {config['model_type']} with {unknown or rope}")
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[ARCHITECTURE])
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    _write_fields(writer, config, rope["rope_theta"], dim)
    _write_tensors(writer, folder, config["num_hidden_layers"], dim)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_fields(writer: gguf.GGUFWriter, config: dict[str, Any], theta: float, dim: int) -> None:
    heads = config["num_attention_heads"]
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_rope_dimension_count(dim)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _write_tensors(writer: gguf.GGUFWriter, folder: Path, layers: int, dim: int) -> None:
    names = gguf.get_tensor_name_map(ARCHITECTURE, layers)
    for shard in sorted(folder.glob("model*.safetensors")):
        with safe_open(shard, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                target = names.get_name(name, try_suffixes=(".weight",))
                if target is None:
                    raise ValueError(f"llama.cpp has no place for the tensor {name}")
                _write_tensor(writer, target, _ordered(name, file.get_tensor(name), dim))


def _ordered(name: str, tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """Reorder the rows of query and key: llama.cpp rotates neighbours, Transformers rotates the halves of a head."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor.contiguous()
    return tensor.reshape(-1, 2, dim // 2, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape).contiguous()


def _write_tensor(writer: gguf.GGUFWriter, name: str, tensor: torch.Tensor) -> None:
    if tensor.ndim == 1:
        # ggml multiplies normalised rows by fp32 vectors only.
        writer.add_tensor(name, tensor.float().numpy())
    elif tensor.dtype in KINDS:
        # NumPy has no bfloat16: the bytes travel, and GGUF derives the shape from them.
        writer.add_tensor(name, tensor.view(torch.uint8).numpy(), raw_dtype=KINDS[tensor.dtype])
    else:
        writer.add_tensor(name, tensor.numpy())
