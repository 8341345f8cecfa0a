"""What clients who share a server send: prompts within the context, related as each relation says."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from engine import Bound, Engine

from pytest_vibeserve.judge import relations
from pytest_vibeserve.judge.crowd import MOVES
from pytest_vibeserve.judge.relations import Move, Prompts


@pytest.fixture
def engine(bound: Callable[[int], Bound]) -> Engine:
    return bound(3).engine


@pytest.fixture
def prompts(engine: Engine) -> Prompts:
    return Prompts(engine, engine.draws("relations"))


def followed(engine: Engine, move: Move) -> Move:
    """What a move leads to."""
    requests = [ask.request for ask in move.asks]
    numbered = [replace(one, id=index) for index, one in enumerate(requests)]
    assert move.then is not None
    following = move.then(engine.ask(numbered))
    assert following is not None
    return following


@pytest.mark.parametrize("name", MOVES)
def test_every_request_fits_into_the_context_and_carries_its_relation(prompts: Prompts, name: str) -> None:
    for ask in MOVES[name](prompts).asks:
        request = ask.request
        assert 0 < len(request.prompt_ids) <= prompts.bench.target.limits.context - request.max_tokens
        assert request.kind == name
        assert request.temperature == 0


def test_twins_differ_in_one_token_that_is_not_at_an_end(prompts: Prompts) -> None:
    for _ in range(20):
        one, other = (ask.request.prompt_ids for ask in relations.twins(prompts).asks)
        places = [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
        assert len(places) <= 1
        assert all(0 < place < len(one) - 1 for place in places)


def test_the_same_requests_come_at_every_concurrency(prompts: Prompts, engine: Engine) -> None:
    first = relations.order(prompts)
    second = followed(engine, first)
    assert {first.streams, second.streams} == {1, engine.target.limits.concurrency}
    assert {ask.request.prompt_ids for ask in first.asks} == {ask.request.prompt_ids for ask in second.asks}


def test_a_longer_answer_is_continued_where_the_short_one_ended(prompts: Prompts, engine: Engine) -> None:
    move = relations.additivity(prompts)
    short, longer = (ask.request for ask in move.asks)
    assert (short.prompt_ids, 2 * short.max_tokens) == (longer.prompt_ids, longer.max_tokens)
    (following,) = followed(engine, move).asks
    assert following.request.prompt_ids[: len(short.prompt_ids)] == short.prompt_ids
    assert len(following.request.prompt_ids) == len(short.prompt_ids) + short.max_tokens


def test_a_secret_has_128_bits_and_is_in_one_prompt_only(prompts: Prompts, engine: Engine) -> None:
    owner, *strangers = sorted(relations.secrets(prompts).asks, key=lambda ask: not ask.secret)
    assert len(engine.vocabulary.ordinary) ** len(owner.secret) >= 2**128
    assert set(owner.secret) <= set(owner.request.prompt_ids)
    assert {token for token, _ in owner.request.logit_bias} == set(owner.secret)
    assert not any(ask.secret or ask.request.logit_bias for ask in strangers)


def test_predictions_are_right_shuffled_foreign_and_empty() -> None:
    right, shuffled, foreign, empty = relations.predictions("abcdefgh", "xyz", random.Random(1))
    assert right == {"type": "content", "content": "abcdefgh"}
    assert sorted(shuffled["content"]) == sorted("abcdefgh")
    assert shuffled != right
    assert (foreign["content"], empty["content"]) == ("xyz", "")
