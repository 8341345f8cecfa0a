"""Drawn checkpoints: a seed gives the same numbers, shards hold what one file would, any vocabulary is filled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from pytest_vibeserve.checkpoints import Draws, Words, write_tokenizer, write_weights


def test_a_seed_gives_the_same_numbers_in_the_spread_that_was_asked_for() -> None:
    first, again, other = (Draws(seed).matrix(200, 100, 1.5) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.bfloat16
    assert float(first.float().std()) == pytest.approx(0.15, rel=0.05)
    steps = Draws(1).uniform(500, 0.2, 0.4)
    assert 0.2 <= float(steps.min()) <= float(steps.max()) <= 0.4


def test_shards_hold_together_what_one_file_holds(tmp_path: Path) -> None:
    tensors = {name: Draws(3).matrix(16, 16, 1.0) for name in "abcde"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    write_weights(whole, tensors.items())
    write_weights(parts, tensors.items(), shard_bytes=1100)
    assert [path.name for path in whole.iterdir()] == ["model.safetensors"]
    index = json.loads((parts / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 5 * 512
    assert sorted(set(index["weight_map"].values())) == sorted(path.name for path in parts.glob("*.safetensors"))
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(parts / file)[name], load_file(whole / "model.safetensors")[name])


def test_a_vocabulary_larger_than_the_corpus_gives_is_filled_with_tokens_that_text_can_reach(tmp_path: Path) -> None:
    words = Words(20_000, ("<begin>", "<end>"), begin="<begin>", template="{{ messages }}")
    write_tokenizer(tmp_path, words, 64)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == words.size
    assert tokenizer.encode("print('é')").ids[0] == 0
    assert tokenizer.decode(tokenizer.encode("def f(x):\n    return 'é'\n").ids) == "def f(x):\n    return 'é'\n"
    assert (tmp_path / "chat_template.jinja").read_text() == words.template
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["eos_token"] == "<end>"
