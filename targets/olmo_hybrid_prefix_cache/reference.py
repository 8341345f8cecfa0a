"""The reference of olmo_hybrid_prefix_cache: Transformers' OLMo Hybrid, and drawn weights in its published layout."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import OlmoHybridConfig

from pytest_vibeserve.checkpoints import Draws, Words, write_tokenizer, write_weights
from pytest_vibeserve.widening import load_as_given

END, PAD = "<|endoftext|>", "<|pad|>"
SPECIALS = (PAD, END)
EVERY = 4
"""Each fourth layer attends to everything; the others carry a state of fixed size."""

CONVOLVED = 4
LARGEST_DECAY, LEAST_STEP, LARGEST_STEP = 16.0, 1e-3, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """Dimensions of the model, in elements; `context` in tokens.  Key and value heads are as many as query heads."""

    hidden: int
    layers: int
    heads: int
    key_dim: int
    value_dim: int
    intermediate: int
    vocabulary: int
    context: int


def build(folder: Path, *, seed: int, **dimensions: int) -> None:
    """Write the model in Hugging Face layout into an existing folder; `dimensions` are the fields of `Shape`."""
    shape = Shape(**dimensions)
    write_tokenizer(folder, Words(shape.vocabulary, SPECIALS), shape.context)
    _write_config(folder, shape)
    write_weights(folder, _weights(shape, Draws(seed)))


def load(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    """Return the Transformers model in evaluation mode: the weights as given, computing in `dtype`."""
    return load_as_given(folder, dtype, attention)


def attends(layer: int) -> bool:
    """Whether a layer attends to everything."""
    return layer % EVERY == EVERY - 1


def _weights(shape: Shape, draws: Draws) -> Iterator[tuple[str, torch.Tensor]]:
    yield "model.embed_tokens.weight", draws.matrix(shape.vocabulary, shape.hidden, shape.hidden**0.5)
    for index in range(shape.layers):
        layer = f"model.layers.{index}"
        yield from _attention(shape, draws, layer) if attends(index) else _linear_attention(shape, draws, layer)
        yield f"{layer}.mlp.gate_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.up_proj.weight", draws.matrix(shape.intermediate, shape.hidden, 1.0)
        yield f"{layer}.mlp.down_proj.weight", draws.matrix(shape.hidden, shape.intermediate, 1.0)
    yield "model.norm.weight", draws.ones(shape.hidden)
    yield "lm_head.weight", draws.matrix(shape.vocabulary, shape.hidden, 2.5)


def _attention(shape: Shape, draws: Draws, layer: str) -> Iterator[tuple[str, torch.Tensor]]:
    for part in "qkvo":
        yield f"{layer}.self_attn.{part}_proj.weight", draws.matrix(shape.hidden, shape.hidden, 1.0)
    # Queries and keys are normalised, so that their norms' weights alone say how sharp attention is.
    yield f"{layer}.self_attn.q_norm.weight", 1.5 * draws.ones(shape.hidden)
    yield f"{layer}.self_attn.k_norm.weight", 1.5 * draws.ones(shape.hidden)
    yield f"{layer}.post_attention_layernorm.weight", draws.ones(shape.hidden)
    yield f"{layer}.post_feedforward_layernorm.weight", draws.ones(shape.hidden)


def _linear_attention(shape: Shape, draws: Draws, layer: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The gated delta rule: decays and steps are drawn in the ranges that the architecture is trained from."""
    keys, values = shape.heads * shape.key_dim, shape.heads * shape.value_dim
    for part, rows in (("q", keys), ("k", keys), ("v", values), ("g", values), ("a", shape.heads), ("b", shape.heads)):
        yield f"{layer}.linear_attn.{part}_proj.weight", draws.matrix(rows, shape.hidden, 1.0)
    yield f"{layer}.linear_attn.o_proj.weight", draws.matrix(shape.hidden, values, 1.0)
    for part, rows in (("q", keys), ("k", keys), ("v", values)):
        yield f"{layer}.linear_attn.{part}_conv1d.weight", draws.matrix(rows, CONVOLVED, 1.0).unsqueeze(1)
    decay = draws.uniform(shape.heads, 0.05, LARGEST_DECAY).log()
    step = draws.uniform(shape.heads, math.log(LEAST_STEP), math.log(LARGEST_STEP)).exp()
    yield f"{layer}.linear_attn.A_log", decay.to(torch.bfloat16)
    yield f"{layer}.linear_attn.dt_bias", (step + torch.log(-torch.expm1(-step))).to(torch.bfloat16)
    yield f"{layer}.linear_attn.o_norm.weight", draws.ones(shape.value_dim)
    yield f"{layer}.attention_layer_norm.weight", draws.ones(shape.hidden)
    yield f"{layer}.feedforward_layer_norm.weight", draws.ones(shape.hidden)


def _write_config(folder: Path, shape: Shape) -> None:
    kinds = ["full_attention" if attends(layer) else "linear_attention" for layer in range(shape.layers)]
    config = OlmoHybridConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, layer_types=kinds,
        linear_key_head_dim=shape.key_dim, linear_value_head_dim=shape.value_dim, linear_conv_kernel_dim=CONVOLVED,
        max_position_embeddings=shape.context, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": None},
        pad_token_id=SPECIALS.index(PAD), bos_token_id=None, eos_token_id=SPECIALS.index(END),
        tie_word_embeddings=False, architectures=["OlmoHybridForCausalLM"], dtype="bfloat16",
    )  # fmt: skip
    config.save_pretrained(folder)
    said = {"do_sample": False, "eos_token_id": SPECIALS.index(END), "pad_token_id": SPECIALS.index(PAD)}
    (folder / "generation_config.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
