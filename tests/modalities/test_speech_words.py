"""Word errors are counted in order, and an excess needs evidence."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_vibeserve.modalities.speech.words import Excess, excess, word_errors

TRUTHS = [f"the quick fox number {index} jumps over a lazy dog" for index in range(30)]


def test_order_and_repetition_count() -> None:
    texts = ["the quick fox", "fox quick the", "the the quick fox", ""]
    assert list(word_errors(["the quick fox"] * 4, texts)) == [0, 2, 1, 3]
    assert list(word_errors(["", ""], ["", "two words"])) == [0, 2]


def test_a_candidate_with_the_errors_of_honest_computation_is_not_inferior() -> None:
    honest = [text.replace("quick", "quiet") for text in TRUTHS]
    found = excess(TRUTHS, [text.replace("lazy", "hazy") for text in TRUTHS], [TRUTHS, honest])
    assert found.point == pytest.approx(0)
    assert found.said(0.05) == "pass"


def test_shuffled_words_are_inferior() -> None:
    draws = np.random.default_rng(0)
    texts = [" ".join(draws.permutation(text.split())) for text in TRUTHS]
    assert excess(TRUTHS, texts, [TRUTHS]).said(0.1) == "fail"


def test_what_lies_on_the_limit_is_left_open() -> None:
    assert Excess(0.1, 0.05, 0.15).said(0.1) == "undecided"
