"""Drafts that are compared ask for the same in other words."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice

import pytest

from pytest_vibeserve.drafts import Draft, reworded
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload


@pytest.fixture
def requests(tiny: Target, vocabulary: Vocabulary) -> tuple[Request, ...]:
    return tuple(islice(Workload(tiny, vocabulary, random.Random(5)).requests(), 60))


@pytest.fixture
def others(requests: tuple[Request, ...], tiny: Target, vocabulary: Vocabulary) -> tuple[Request, ...]:
    return reworded(Draft(requests), tiny, vocabulary, random.Random(6)).requests


def test_everything_but_the_words_stays(requests: tuple[Request, ...], others: tuple[Request, ...]) -> None:
    blank = {"prompt_ids": (), "prompt_text": ""}
    assert [replace(one, **blank) for one in others] == [replace(one, **blank) for one in requests]


def test_no_prompt_stays(requests: tuple[Request, ...], others: tuple[Request, ...], vocabulary: Vocabulary) -> None:
    kept = len(vocabulary.prefix)
    long = [pair for pair in zip(requests, others, strict=True) if len(pair[0].prompt_ids) > kept + 4]
    assert len(long) > 50
    assert all(one.prompt_ids != other.prompt_ids for one, other in long)
    assert all(other.prompt_ids[:kept] == vocabulary.prefix for _, other in long)


def test_lengths_stay_or_lose_a_few_tokens_where_text_is_spelt(
    requests: tuple[Request, ...], others: tuple[Request, ...]
) -> None:
    for one, other in zip(requests, others, strict=True):
        assert bool(one.prompt_text) == bool(other.prompt_text)
        assert len(other.prompt_ids) <= len(one.prompt_ids)
        assert one.prompt_text or len(other.prompt_ids) == len(one.prompt_ids)


def test_prompts_that_shared_a_beginning_still_share_it(tiny: Target, vocabulary: Vocabulary) -> None:
    words = vocabulary.ordinary
    first = Request(id=0, prompt_ids=(*vocabulary.prefix, *words[:8]), max_tokens=4)
    second = Request(id=1, prompt_ids=(*vocabulary.prefix, *words[:6], *words[20:24]), max_tokens=4)
    one, two = reworded(Draft((first, second)), tiny, vocabulary, random.Random(7)).requests
    shared = len(vocabulary.prefix) + 6
    assert one.prompt_ids[:shared] == two.prompt_ids[:shared]
    assert one.prompt_ids[shared] != two.prompt_ids[shared]
    assert one.prompt_ids[:shared] != first.prompt_ids[:shared]


def test_a_drafts_sessions_are_its_requests_by_their_turns() -> None:
    turns = tuple(Request(id=number, prompt_ids=(number,), max_tokens=1) for number in range(5))
    assert Draft(turns, turns=(2, 3)).sessions == [turns[:2], turns[2:]]
