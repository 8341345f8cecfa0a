"""The reference of llama_mlx_json: Transformers' Llama on what the eight-bit weights stand for, and a drawn model."""

from __future__ import annotations

import json
import math
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

STARTER = Path(__file__).resolve().parent / "starter"
if str(STARTER) not in sys.path:
    sys.path.insert(0, str(STARTER))

import quantised  # noqa: E402 (the starter reads the same layout)

BITS, GROUP = 8, 64
BEGIN, TURN, SAID, END = "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
TEMPLATE = (
    "{{ '" + BEGIN + "' }}{% for message in messages %}"
    "{{ '" + TURN + "' + message['role'] + '" + SAID + "\n\n' + message['content'] + '" + END + "' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + TURN + "assistant" + SAID + "\n\n' }}{% endif %}"
)
CORPUS_BYTES_PER_FILE = 40_000

_given: WeakValueDictionary[Path, Any] = WeakValueDictionary()


def load(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    """The model in evaluation mode: eight-bit weights as they stand, computing in `dtype`.

    Those of a large model stay packed, and all precisions share them.
    """
    precision = getattr(torch, dtype)
    if not quantised.is_large(folder):
        model: torch.nn.Module = quantised.load(folder, precision, attention)
        return model
    given = _given.get(folder)
    if given is None:
        given = _given[folder] = quantised.load(folder, torch.bfloat16, attention)
    model = given
    if dtype != "bfloat16":
        model = quantised.twin(given, precision)
        # Whoever keeps the twin keeps what it was made of, so that both are read once.
        model.__dict__["given"] = given
    model.set_attn_implementation(attention)
    return model


def build(
    folder: Path, *, seed: int, hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int,
    vocabulary: int, context: int,
) -> None:  # fmt: skip
    """Write a drawn model of eight bits in MLX's layout: sharpened, so that errors show in the logits."""
    tokenizer = _tokenizer(vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": BEGIN, "eos_token": END, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary, "hidden_size": hidden,
        "intermediate_size": intermediate, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": hidden // heads, "max_position_embeddings": context,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": tokenizer.token_to_id(BEGIN),
        "eos_token_id": tokenizer.token_to_id(END), "quantization": {"group_size": GROUP, "bits": BITS},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    sizes = {
        "q_proj": (hidden, hidden), "k_proj": (hidden // heads * kv_heads, hidden),
        "v_proj": (hidden // heads * kv_heads, hidden), "o_proj": (hidden, hidden),
        "gate_proj": (intermediate, hidden), "up_proj": (intermediate, hidden), "down_proj": (hidden, intermediate),
    }  # fmt: skip
    save_file(dict(_weights(seed, layers, vocabulary, hidden, sizes)), folder / "model.safetensors", {"format": "mlx"})


def _weights(
    seed: int, layers: int, vocabulary: int, hidden: int, sizes: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Embedding N(0, 1); query and key N(0, 1.5 / sqrt(fan in)); head 2.5, everything else 1 in the same unit."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(name: str, rows: int, columns: int, gain: float) -> Iterator[tuple[str, torch.Tensor]]:
        drawn = torch.randn(rows, columns, generator=generator) * (gain / math.sqrt(columns))
        words, scales, biases = quantised.packed(drawn, BITS, GROUP)
        yield from ((f"{name}.weight", words), (f"{name}.scales", scales), (f"{name}.biases", biases))

    def ones(name: str) -> tuple[str, torch.Tensor]:
        return f"{name}.weight", torch.ones(hidden, dtype=torch.bfloat16)

    yield from matrix("model.embed_tokens", vocabulary, hidden, math.sqrt(hidden))
    for index in range(layers):
        layer = f"model.layers.{index}"
        yield ones(f"{layer}.input_layernorm")
        yield ones(f"{layer}.post_attention_layernorm")
        for name, (rows, columns) in sizes.items():
            part = "self_attn" if name[0] in "qkvo" else "mlp"
            gain = 1.5 if name[0] in "qk" else 1.0
            yield from matrix(f"{layer}.{part}.{name}", rows, columns, gain)
    yield ones("model.norm")
    yield from matrix("lm_head", vocabulary, hidden, 2.5)


def _tokenizer(vocabulary: int) -> Tokenizer:
    """A byte-level BPE over the standard library's own modules and their JSON-like text, with Llama 3's turn tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 8192), special_tokens=[BEGIN, TURN, SAID, END], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:80]
    tokenizer.train_from_iterator((path.read_text(encoding="utf-8")[:CORPUS_BYTES_PER_FILE] for path in files), trainer)
    tokenizer.add_tokens([f"<{index}>" for index in range(tokenizer.get_vocab_size(), vocabulary)])
    return tokenizer
