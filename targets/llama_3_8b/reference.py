"""The reference of llama_3_8b: Transformers' Llama, and weights of its shape in any size, drawn from a seed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig

from pytest_vibeserve.checkpoints import Draws, Words, write_tokenizer, write_weights
from pytest_vibeserve.widening import load_as_given

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
HEADER, HEADER_END, TURN_END = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
SPECIALS = (BEGIN, END, HEADER, HEADER_END, TURN_END)
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    f"{HEADER}{{{{ message['role'] }}}}{HEADER_END}\n\n{{{{ message['content'] }}}}{TURN_END}"
    "{% endfor %}{% if add_generation_prompt %}"
    f"{HEADER}assistant{HEADER_END}\n\n"
    "{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of the model, in elements; `context` in tokens, `stretched_from` the positions before scaling."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    context: int
    stretched_from: int


def build(folder: Path, *, seed: int, **dimensions: int) -> None:
    """Write the model in Hugging Face layout into an existing folder; `dimensions` are the fields of `Shape`."""
    shape = Shape(**dimensions)
    write_tokenizer(folder, Words(shape.vocabulary, SPECIALS, BEGIN, TEMPLATE), shape.context)
    _write_config(folder, shape)
    write_weights(folder, _weights(shape, Draws(seed)))


def load(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    """Return the Transformers model in evaluation mode: the weights as given, computing in `dtype`."""
    return load_as_given(folder, dtype, attention)


def _weights(shape: Shape, draws: Draws) -> Iterator[tuple[str, torch.Tensor]]:
    query, key_value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "model.embed_tokens.weight", draws.matrix(shape.vocabulary, shape.hidden, shape.hidden**0.5)
    for index in range(shape.layers):
        layer = f"model.layers.{index}"
        yield f"{layer}.input_layernorm.weight", draws.ones(shape.hidden)
        yield f"{layer}.self_attn.q_proj.weight", draws.matrix(query, shape.hidden, 1.5)
        yield f"{layer}.self_attn.k_proj.weight", draws.matrix(key_value, shape.hidden, 1.5)
        yield f"{layer}.self_attn.v_proj.weight", draws.matrix(key_value, shape.hidden, 1.0)
        yield f"{layer}.self_attn.o_proj.weight", draws.matrix(shape.hidden, query, 1.0)
        yield f"{layer}.post_attention_layernorm.weight", draws.ones(shape.hidden)
        yield f"{layer}.mlp.gate_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.up_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.down_proj.weight", draws.matrix(shape.hidden, shape.intermediate, 1.0)
    yield "model.norm.weight", draws.ones(shape.hidden)
    yield "lm_head.weight", draws.matrix(shape.vocabulary, shape.hidden, 2.5)


def _write_config(folder: Path, shape: Shape) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": shape.stretched_from,
    }  # fmt: skip
    ends = [SPECIALS.index(END), SPECIALS.index(TURN_END)]
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=shape.context, rms_norm_eps=1e-5, rope_parameters=rope,
        bos_token_id=SPECIALS.index(BEGIN), eos_token_id=ends, tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"], dtype="bfloat16",
    )  # fmt: skip
    config.save_pretrained(folder)
    said = {"bos_token_id": config.bos_token_id, "do_sample": False, "eos_token_id": ends}
    (folder / "generation_config.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
