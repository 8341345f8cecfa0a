"""The same words under other numbers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from pytest_vibeserve.judge.canary_words import renumber
from pytest_vibeserve.reference import Reference
from pytest_vibeserve.workload import Vocabulary

TEXT = "def main(): return 1 # été \u6771"


@pytest.fixture
def folder(reference: Reference, tmp_path: Path) -> Path:
    shutil.copy(reference.folder / "tokenizer.json", tmp_path)
    return tmp_path


def test_texts_are_cut_as_before_under_other_numbers(folder: Path, vocabulary: Vocabulary) -> None:
    assert renumber(folder, random.Random(1))
    after = Vocabulary(folder)
    before_ids, after_ids = vocabulary.encode(TEXT), after.encode(TEXT)
    assert len(before_ids) == len(after_ids)
    assert sum(one == other for one, other in zip(before_ids, after_ids, strict=True)) < len(before_ids) / 2
    assert after.decode(after_ids) == vocabulary.decode(before_ids) == TEXT
    assert (after.size, after.special, after.prefix) == (vocabulary.size, vocabulary.special, vocabulary.prefix)


def test_a_list_of_words_beside_the_tokenizer_says_the_same(folder: Path) -> None:
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.json").write_text(json.dumps(words))
    assert renumber(folder, random.Random(2))
    after = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert json.loads((folder / "vocab.json").read_text()) == after != words


@pytest.mark.parametrize("other", ["tokenizer.model", "words.tiktoken"])
def test_a_vocabulary_in_a_form_of_its_own_is_left_alone(folder: Path, other: str) -> None:
    (folder / other).write_bytes(b"")
    before = (folder / "tokenizer.json").read_bytes()
    assert not renumber(folder, random.Random(3))
    assert (folder / "tokenizer.json").read_bytes() == before


def test_a_model_without_words_is_left_alone(tmp_path: Path) -> None:
    assert not renumber(tmp_path, random.Random(4))
