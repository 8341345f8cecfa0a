"""A speech model of the Moonshine architecture, tiny and of random weights; Transformers loads it as it is."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MoonshineConfig, MoonshineForConditionalGeneration

VOCABULARY, CORPUS = 512, ("argparse.py", "ast.py", "calendar.py", "datetime.py", "statistics.py", "textwrap.py")


def build(folder: Path, *, seed: int) -> None:
    """Write a model in Hugging Face layout, drawn so that its answers depend on the audio and on every layer."""
    config = MoonshineConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=3, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
        encoder_num_key_value_heads=4, decoder_num_key_value_heads=4, max_position_embeddings=512,
        bos_token_id=0, eos_token_id=1, decoder_start_token_id=0, pad_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    model = MoonshineForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                gain = _gain(name)
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn * gain / math.sqrt(math.prod(weight.shape[1:])))
    model.to(torch.bfloat16).save_pretrained(folder)
    _write_tokenizer(folder)


def _gain(name: str) -> float:
    if "embed_tokens" in name:
        return 8.0
    if "proj_out" in name:
        return 2.5
    if "q_proj" in name or "k_proj" in name:
        return 1.5
    return 2.0 if "conv" in name else 1.0


def _write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    library = Path(sysconfig.get_path("stdlib"))
    tokenizer.train_from_iterator(((library / name).read_text(encoding="utf-8") for name in CORPUS), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
