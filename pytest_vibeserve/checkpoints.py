"""Checkpoints that are drawn, not trained: sharpened weights and a byte-level tokenizer in Hugging Face layout.

What a target's builder shares with other targets; torch, safetensors and tokenizers are imported on first use.
"""

from __future__ import annotations

import json
import math
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 4 * 2**30
CORPUS_BYTES, CORPUS_BYTES_PER_FILE = 3_000_000, 40_000
TRAINED = 16_384
"""Tokens that the corpus surely gives; a larger vocabulary is filled with pairs of these."""


@dataclass(frozen=True, slots=True)
class Words:
    """A vocabulary: its size, its special tokens in the order of their ids (from 0), which of them begins a text."""

    size: int
    specials: tuple[str, ...]
    begin: str = ""
    template: str = ""
    """The chat template (Jinja), where the model knows chats."""


class Draws:
    """Weights of the sharpened initialisation from one seed, in bfloat16.

    The default initialisation of Transformers (0.02 everywhere) gives almost flat attention, in which an error of one
    position cannot be seen; a matrix here is N(0, gain / sqrt(columns)).
    """

    def __init__(self, seed: int) -> None:
        """Begin the stream of numbers; the order of the calls is part of the checkpoint."""
        import torch

        self._torch = torch
        self._generator = torch.Generator().manual_seed(seed)

    def matrix(self, rows: int, columns: int, gain: float) -> torch.Tensor:
        """A matrix [rows, columns]."""
        drawn = self._torch.randn(rows, columns, generator=self._generator, dtype=self._torch.float32)
        return (drawn * (gain / math.sqrt(columns))).to(self._torch.bfloat16)

    def uniform(self, size: int, least: float, most: float) -> torch.Tensor:
        """Numbers [size] between two bounds, in float32 for the caller to transform."""
        return least + (most - least) * self._torch.rand(size, generator=self._generator)

    def ones(self, size: int) -> torch.Tensor:
        """A norm's weight [size]."""
        return self._torch.ones(size, dtype=self._torch.bfloat16)


def write_weights(folder: Path, tensors: Iterable[tuple[str, torch.Tensor]], shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as they come into `model.safetensors`, or into shards with an index where they are more."""
    from safetensors.torch import save_file

    index: dict[str, int] = {}
    total = 0
    for number, shard in enumerate(_shards(tensors, shard_bytes)):
        save_file(shard, folder / f"shard-{number}", metadata={"format": "pt"})
        index |= dict.fromkeys(shard, number)
        total += sum(tensor.nbytes for tensor in shard.values())
    count = max(index.values()) + 1
    names = [f"model-{number + 1:05}-of-{count:05}.safetensors" if count > 1 else "model.safetensors"
             for number in range(count)]  # fmt: skip
    for number, name in enumerate(names):
        (folder / f"shard-{number}").replace(folder / name)
    if count > 1:
        found = {"metadata": {"total_size": total}, "weight_map": {name: names[at] for name, at in index.items()}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(found), encoding="utf-8")


def write_tokenizer(folder: Path, words: Words, context: int) -> None:
    """Write `tokenizer.json` (byte-level BPE trained on the standard library's own text) and its configuration."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(words.size, TRAINED), special_tokens=list(words.specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(_corpus(), trainer)
    if words.begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{words.begin} $A", pair=f"{words.begin} $A {words.begin} $B",
            special_tokens=[(words.begin, words.specials.index(words.begin))],
        )  # fmt: skip
    stated = json.loads(tokenizer.to_str())
    _fill(stated["model"], words)
    (folder / "tokenizer.json").write_text(json.dumps(stated, ensure_ascii=False), encoding="utf-8")
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context,
        "clean_up_tokenization_spaces": False, "eos_token": words.specials[-1],
    }  # fmt: skip
    said |= {"bos_token": words.begin} if words.begin else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    if words.template:
        (folder / "chat_template.jinja").write_text(words.template, encoding="utf-8")


def _shards(tensors: Iterable[tuple[str, torch.Tensor]], limit: int) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        if shard and sum(one.nbytes for one in shard.values()) + tensor.nbytes > limit:
            yield shard
            shard = {}
        shard[name] = tensor
    yield shard


def _fill(model: dict[str, Any], words: Words) -> None:
    """Add merges of two known tokens, in the order of their ids, until the vocabulary has its size."""
    vocabulary: dict[str, int] = model["vocab"]
    ordinary = [token for token in vocabulary if token not in words.specials]
    pairs = ((first, second) for second in ordinary for first in ordinary)
    while len(vocabulary) < words.size:
        first, second = next(pairs)
        if first + second not in vocabulary:
            vocabulary[first + second] = len(vocabulary)
            model["merges"].append([first, second])


def _corpus() -> Iterator[str]:
    """Yield the text of the standard library's own modules, in order of name, up to `CORPUS_BYTES`."""
    left = CORPUS_BYTES
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_bytes()[: min(CORPUS_BYTES_PER_FILE, left)].decode("utf-8", errors="ignore")
        left -= len(text.encode("utf-8"))
        yield text
        if left <= 0:
            return
