"""The reference of qwen3_32b_code_edit: Transformers' Qwen3, and weights of its shape in any size from a seed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen3Config

from pytest_vibeserve.checkpoints import Draws, Words, write_tokenizer, write_weights
from pytest_vibeserve.widening import load_as_given

PAD, BEGIN_TURN, END_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (PAD, BEGIN_TURN, END_TURN)
TEMPLATE = (
    "{% for message in messages %}"
    f"{BEGIN_TURN}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{END_TURN}\n"
    "{% endfor %}{% if add_generation_prompt %}"
    f"{BEGIN_TURN}assistant\n"
    "{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of the model, in elements; `context` in tokens."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    context: int


def build(folder: Path, *, seed: int, **dimensions: int) -> None:
    """Write the model in Hugging Face layout into an existing folder; `dimensions` are the fields of `Shape`."""
    shape = Shape(**dimensions)
    write_tokenizer(folder, Words(shape.vocabulary, SPECIALS, template=TEMPLATE), shape.context)
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
        yield f"{layer}.self_attn.q_proj.weight", draws.matrix(query, shape.hidden, 1.0)
        yield f"{layer}.self_attn.k_proj.weight", draws.matrix(key_value, shape.hidden, 1.0)
        # Queries and keys are normalised, so that their norms' weights alone say how sharp attention is.
        yield f"{layer}.self_attn.q_norm.weight", 1.5 * draws.ones(shape.head_dim)
        yield f"{layer}.self_attn.k_norm.weight", 1.5 * draws.ones(shape.head_dim)
        yield f"{layer}.self_attn.v_proj.weight", draws.matrix(key_value, shape.hidden, 1.0)
        yield f"{layer}.self_attn.o_proj.weight", draws.matrix(shape.hidden, query, 1.0)
        yield f"{layer}.post_attention_layernorm.weight", draws.ones(shape.hidden)
        yield f"{layer}.mlp.gate_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.up_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.down_proj.weight", draws.matrix(shape.hidden, shape.intermediate, 1.0)
    yield "model.norm.weight", draws.ones(shape.hidden)
    yield "lm_head.weight", draws.matrix(shape.vocabulary, shape.hidden, 2.5)


def _write_config(folder: Path, shape: Shape) -> None:
    end = SPECIALS.index(END_TURN)
    config = Qwen3Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=shape.context, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, use_sliding_window=False,
        bos_token_id=None, eos_token_id=end, tie_word_embeddings=False,
        architectures=["Qwen3ForCausalLM"], dtype="bfloat16",
    )  # fmt: skip
    config.save_pretrained(folder)
    said = {"do_sample": False, "eos_token_id": [end, SPECIALS.index(PAD)]}
    (folder / "generation_config.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
