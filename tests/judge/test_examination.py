"""How many answers an examination screens: as many as it has time for, and never too few to say anything."""

from __future__ import annotations

import random

import pytest

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.examination import LONG, LONG_ANSWERS, SCREENED_ANSWERS, _affordable
from pytest_vibeserve.workload import Request


def answers(count: int, tokens: int) -> list[Answer]:
    """Whole answers of three tokens to prompts of so many."""
    prompt = (5,) * tokens
    return [
        Answer(Request(id=at, prompt_ids=prompt, max_tokens=3), 200, "", (Choice(0, (7, 8, 9), "", "length"),))
        for at in range(count)
    ]


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_fewer_answers_are_screened_where_each_takes_long(depth: str) -> None:
    draws = random.Random(1)
    assert len(_affordable(answers(400, 20), draws, depth)) > SCREENED_ANSWERS[depth]
    assert len(_affordable(answers(400, LONG - 10), draws, depth)) == SCREENED_ANSWERS[depth]
    assert len(_affordable(answers(400, 4 * LONG), draws, depth)) == LONG_ANSWERS[depth]
