"""Masks follow the schema, forced text may be cut anyhow, and whatever leaves the grammar is seen."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from pytest_vibeserve.modalities.chat.grammar import FORBIDDEN, Grammar, Whitespace
from pytest_vibeserve.modalities.chat.tasks import decoys, same_fields, same_schema, same_shape, same_words, task, texts
from pytest_vibeserve.workload import Vocabulary

END = 1
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="session")
def grammar(chat_model: Path) -> Grammar:
    return Grammar(chat_model, [END], 512, "compact")


def wandered(grammar: Grammar, schema: str, draws: random.Random) -> tuple[int, ...]:
    """Ids of a random answer that the grammar allows, without the end token."""
    ids: list[int] = []
    while not grammar.complete(schema, ids):
        ids.append(draws.choice(list(np.flatnonzero(grammar.next_allowed(schema, ids)))))
    return tuple(int(token) for token in ids)


def spelt(vocabulary: Vocabulary, text: str) -> tuple[int, ...]:
    return tuple(vocabulary.tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_grammar_allows_is_a_document_of_the_schema_and_no_longer_than_said(
    grammar: Grammar, chat_vocabulary: Vocabulary, seed: int
) -> None:
    draws = random.Random(seed)
    first = task(draws)
    twins = (same_schema(first, draws), same_words(first, draws), same_shape(first, draws), same_fields(first))
    for given in (first, *twins, decoys(draws), texts(draws)):
        ids = wandered(grammar, given.schema, draws)
        text = chat_vocabulary.decode(ids)
        Draft202012Validator(json.loads(given.schema)).validate(json.loads(text))
        assert len(text.encode()) <= given.longest
        assert grammar.broken(given.schema, (*ids, END)) is None


@pytest.mark.parametrize("seed", range(8))
def test_twins_of_a_schema_differ_in_their_values_alone_or_in_their_order_alone(seed: int) -> None:
    draws = random.Random(seed)
    first = task(draws)
    fields, other, turned = (
        json.loads(one.schema)["properties"] for one in (first, same_shape(first, draws), same_fields(first))
    )
    assert [*other] == [*fields] == [*turned][::-1]
    assert turned == fields
    assert [kind.get("type") for kind in other.values()] == [kind.get("type") for kind in fields.values()]
    assert all(other[name] != kind for name, kind in fields.items() if kind != {"type": "boolean"})
    assert first.words == same_shape(first, draws).words == same_fields(first).words


def test_forced_text_may_be_cut_anyhow(grammar: Grammar, chat_vocabulary: Vocabulary) -> None:
    text = '{"colour":"red","count":7}'
    letters = tuple(token for letter in text for token in spelt(chat_vocabulary, letter))
    for ids in (spelt(chat_vocabulary, text), letters):
        assert grammar.broken(SCHEMA, (*ids, END)) is None
    taken = grammar.penalties(SCHEMA, letters)
    inside = [place for place in range(len('{"colour":"'))]
    assert [int((taken[place] == 0).sum()) for place in inside] == [1] * len(inside)
    assert int((taken[len('{"colour":"')] == 0).sum()) > 1


def test_a_free_choice_is_compared_with_all_that_may_stand_there(grammar: Grammar, chat_vocabulary: Vocabulary) -> None:
    ids = spelt(chat_vocabulary, '{"colour":"red","count":')
    rivals = np.flatnonzero(grammar.penalties(SCHEMA, (*ids, *spelt(chat_vocabulary, "7")))[-1] == 0)
    assert {chat_vocabulary.decode([token]) for token in rivals} >= set("0123456789")


@pytest.mark.parametrize("text", ['{"colour":"blue"', '{"count"', '{"colour": "red"', '{"colour":"red","count":12'])
def test_what_leaves_the_grammar_is_seen(grammar: Grammar, chat_vocabulary: Vocabulary, text: str) -> None:
    ids = spelt(chat_vocabulary, text)
    place = grammar.broken(SCHEMA, ids)
    assert place is not None
    assert grammar.penalties(SCHEMA, ids)[place, ids[place]] == FORBIDDEN


def test_only_the_end_may_follow_a_whole_answer(grammar: Grammar, chat_vocabulary: Vocabulary) -> None:
    ids = spelt(chat_vocabulary, '{"colour":"green","count":0}')
    assert grammar.complete(SCHEMA, ids)
    assert list(np.flatnonzero(grammar.next_allowed(SCHEMA, ids))) == [END]
    assert grammar.broken(SCHEMA, (*ids, ids[-1])) == len(ids)


@pytest.mark.parametrize(
    ("style", "text"),
    [("spaced", '{"colour": "red", "count": 3}'), ("any", '{ "colour" : "red",\n"count":3}')],
)
def test_whitespace_is_as_the_target_says(
    chat_model: Path, chat_vocabulary: Vocabulary, style: Whitespace, text: str
) -> None:
    ids = spelt(chat_vocabulary, text)
    assert Grammar(chat_model, [END], 512, style).broken(SCHEMA, ids) is None
    assert Grammar(chat_model, [END], 512, "compact").broken(SCHEMA, ids) is not None
