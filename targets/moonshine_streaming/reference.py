"""The reference of moonshine_streaming: Transformers' own classes, and how random weights come to be."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MoonshineStreamingConfig, MoonshineStreamingForConditionalGeneration

FRAME = 80
"""Samples that the first layer takes at a time; what does not fill one is left out, as the extractor masks it."""

NEAR, FAR = [16, 4], [16, 0]
CORPUS_BYTES, CORPUS_BYTES_PER_FILE = 4_000_000, 60_000


def load(folder: Path, dtype: str, attention: str) -> torch.nn.Module:
    """The Transformers model in evaluation mode: the weights as given, computing in `dtype`."""
    model: torch.nn.Module = MoonshineStreamingForConditionalGeneration.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
    )
    return model.eval()


def transcribe(model: MoonshineStreamingForConditionalGeneration, audio: np.ndarray, tokens: list[int]) -> torch.Tensor:
    """Logits [len(tokens), vocabulary] of a transcript's tokens, each given those before it and the audio."""
    given = torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]], device=model.device)
    logits: torch.Tensor = model(**_heard(model, audio), decoder_input_ids=given, use_cache=False).logits[0]
    return logits


def settled(
    model: MoonshineStreamingForConditionalGeneration, audio: np.ndarray, samples: int, tokens: list[int]
) -> torch.Tensor:
    """Logits as `transcribe` has them, given the first samples' frames as they are with all of the audio heard."""
    encoded = model.model.encoder(**_heard(model, audio))
    count = int(model._get_feat_extract_output_lengths(samples))
    encoded.last_hidden_state = encoded.last_hidden_state[:, :count]
    encoded.attention_mask = encoded.attention_mask[:, :count]
    given = torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]], device=model.device)
    logits: torch.Tensor = model(encoder_outputs=encoded, decoder_input_ids=given, use_cache=False).logits[0]
    return logits


def greedy(model: MoonshineStreamingForConditionalGeneration, audio: np.ndarray, max_tokens: int) -> list[int]:
    """The model's own transcript, the end token included."""
    found = model.generate(**_heard(model, audio), do_sample=False, num_beams=1, max_new_tokens=max_tokens)
    return [int(token) for token in found[0].tolist()[1:]]


def _heard(model: MoonshineStreamingForConditionalGeneration, audio: np.ndarray) -> dict[str, torch.Tensor]:
    """Whole frames of samples [1, n], and the mask without which the encoder would not look through its windows."""
    whole = torch.from_numpy(audio[: len(audio) // FRAME * FRAME])[None]
    values = whole.to(model.device, model.dtype)
    return {"input_values": values, "attention_mask": torch.ones_like(whole, dtype=torch.long, device=model.device)}


def build(
    folder: Path, *, seed: int, vocabulary: int, encoder_hidden: int, encoder_layers: int, hidden: int, layers: int,
    heads: int,
) -> None:  # fmt: skip
    """Write a model in Hugging Face layout, drawn so that its answers depend on the audio and on every layer."""
    windows = tuple(tuple(NEAR if index < 2 or index >= encoder_layers - 2 else FAR) for index in range(encoder_layers))
    encoder = {
        "hidden_size": encoder_hidden, "intermediate_size": 4 * encoder_hidden, "num_hidden_layers": encoder_layers,
        "num_attention_heads": heads, "num_key_value_heads": heads, "sliding_windows": windows,
        "head_dim": hidden // heads,
    }  # fmt: skip
    config = MoonshineStreamingConfig(
        encoder_config=encoder, vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads, head_dim=hidden // heads,
        bos_token_id=0, eos_token_id=1, pad_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    model = MoonshineStreamingForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn * _gain(name) / math.sqrt(math.prod(weight.shape[1:])))
    model.to(torch.bfloat16).save_pretrained(folder)
    _write_tokenizer(folder, vocabulary)


def _gain(name: str) -> float:
    """Standard deviation in units of 1 / sqrt(fan in): sharp attention and head, so that errors show in the logits."""
    gains = {"embed_tokens": 8.0, "pos_emb": 8.0, "proj_out": 2.5, "q_proj": 1.5, "k_proj": 1.5, "conv": 2.0}
    return next((gain for part, gain in gains.items() if part in name), 1.0)


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A byte-level BPE over the standard library's own modules; of a large vocabulary the last ids may have no text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[: CORPUS_BYTES // CORPUS_BYTES_PER_FILE]
    texts = (path.read_text(encoding="utf-8")[:CORPUS_BYTES_PER_FILE] for path in files)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([f"<{index}>" for index in range(tokenizer.get_vocab_size(), vocabulary)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
