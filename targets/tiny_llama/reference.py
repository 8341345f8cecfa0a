"""The reference of tiny_llama: how its weights and its tokenizer come to be, and how Transformers loads them."""

import math
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig

BOS, EOS = "<s>", "</s>"
CORPUS_BYTES = 3_000_000
CORPUS_BYTES_PER_FILE = 40_000


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
    _write_tokenizer(folder, shape)
    _write_config(folder, shape)
    save_file(_weights(shape, seed), folder / "model.safetensors", metadata={"format": "pt"})
    for path in folder.iterdir():
        path.chmod(0o644)


def load(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    """Return the Transformers model in evaluation mode: the weights as given, computing in `dtype`."""
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
    )
    return model.eval()


def _weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Draw the sharpened initialisation, which makes wrong positions and skipped layers visible in the logits.

    Embedding N(0, 1); query and key N(0, 1.5 / sqrt(hidden)); value, output and MLP N(0, 1 / sqrt(fan_in));
    head N(0, 2.5 / sqrt(hidden)); the second number is the standard deviation.  The default initialisation of
    Transformers (0.02 everywhere) gives almost flat attention, in which an error of one position cannot be seen.
    """
    generator = torch.Generator().manual_seed(seed)
    query, key_value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim

    def normal(rows: int, columns: int, gain: float) -> torch.Tensor:
        drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float32)
        return (drawn * (gain / math.sqrt(columns))).to(torch.bfloat16)

    ones = torch.ones(shape.hidden, dtype=torch.bfloat16)
    weights = {"model.embed_tokens.weight": normal(shape.vocabulary, shape.hidden, math.sqrt(shape.hidden))}
    for index in range(shape.layers):
        layer = f"model.layers.{index}"
        weights |= {
            f"{layer}.input_layernorm.weight": ones.clone(),
            f"{layer}.self_attn.q_proj.weight": normal(query, shape.hidden, 1.5),
            f"{layer}.self_attn.k_proj.weight": normal(key_value, shape.hidden, 1.5),
            f"{layer}.self_attn.v_proj.weight": normal(key_value, shape.hidden, 1.0),
            f"{layer}.self_attn.o_proj.weight": normal(shape.hidden, query, 1.0),
            f"{layer}.post_attention_layernorm.weight": ones.clone(),
            f"{layer}.mlp.gate_proj.weight": normal(shape.intermediate, shape.hidden, 1.0),
            f"{layer}.mlp.up_proj.weight": normal(shape.intermediate, shape.hidden, 1.0),
            f"{layer}.mlp.down_proj.weight": normal(shape.hidden, shape.intermediate, 1.0),
        }
    weights["model.norm.weight"] = ones
    weights["lm_head.weight"] = normal(shape.vocabulary, shape.hidden, 2.5)
    return weights


def _write_config(folder: Path, shape: Shape) -> None:
    """Write config.json and generation_config.json (greedy unless asked otherwise)."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )
    config.save_pretrained(folder)
    (folder / "generation_config.json").write_text(_GENERATION_CONFIG, encoding="utf-8")


def _write_tokenizer(folder: Path, shape: Shape) -> None:
    """Train a byte-level BPE of exactly `vocabulary` entries; ValueError when the corpus is too small for it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    if tokenizer.get_vocab_size() != shape.vocabulary:
        raise ValueError(f"the corpus gave {tokenizer.get_vocab_size()} tokens, not {shape.vocabulary}")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(_TOKENIZER_CONFIG % shape.context, encoding="utf-8")


def _corpus() -> Iterator[str]:
    """Yield the text of the standard library's own modules, in order of name, up to `CORPUS_BYTES`."""
    left = CORPUS_BYTES
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_bytes()[: min(CORPUS_BYTES_PER_FILE, left)].decode("utf-8", errors="ignore")
        left -= len(text.encode("utf-8"))
        yield text
        if left <= 0:
            return


_TOKENIZER_CONFIG = """{
  "bos_token": "<s>",
  "clean_up_tokenization_spaces": false,
  "eos_token": "</s>",
  "model_max_length": %d,
  "tokenizer_class": "PreTrainedTokenizerFast"
}
"""

_GENERATION_CONFIG = """{
  "bos_token_id": 0,
  "do_sample": false,
  "eos_token_id": 1
}
"""
