"""Chats that follow one another, and chats in the lengths of a trace: what is sent and what is audited are the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.load_generator.follow_up import Spoken, filled
from pytest_vibeserve.modalities.chat.bench import ChatWire
from pytest_vibeserve.modalities.chat.turns import SPELT_AGAIN
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.session_turns import Talk, asked, exchanges
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary


@pytest.fixture(scope="module")
def wire(chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary) -> ChatWire:
    return ChatWire(chat_target, chat_vocabulary, chat_model)


@pytest.fixture(scope="module", params=["chat-json", "text"])
def talk(request: pytest.FixtureRequest, wire: ChatWire, chat_target: Target, chat_vocabulary: Vocabulary) -> Talk:
    return wire if request.param == "chat-json" else TextWire(chat_target, chat_vocabulary)


def chat(wire: ChatWire, id: int, *words: str, schema: str = "") -> ChatRequest:
    roles = ["system", "user"][2 - len(words) :]
    messages = tuple(Message(role, word) for role, word in zip(roles, words, strict=True))
    ids = wire.template.ids(messages)
    given = Conditioned(ids, schema) if schema else ids
    return ChatRequest(id=id, prompt_ids=given, max_tokens=4, messages=messages, schema=schema)


def answered(request: Request) -> Answer:
    return Answer(request, 200, "", (Choice(0, (40, 41), f'said "{request.id}"', "stop"),))


def test_what_is_audited_is_what_the_client_sent(wire: ChatWire, talk: Talk, chat_vocabulary: Vocabulary) -> None:
    schema = '{"type":"object"}'
    session = (
        chat(wire, 0, "Be brief.", "Hello"),
        chat(wire, 1, "Be long.", "And?"),
        chat(wire, 2, "Ok", schema=schema),
    )
    turns = exchanges([session], talk, 0.5, 20)
    assert [(one.after, one.think_s, one.path) for one in turns] == [
        (None, 0.0, "/v1/chat/completions"), (0, 0.5, "/v1/chat/completions"), (1, 0.5, "/v1/chat/completions"),
    ]  # fmt: skip
    answers = asked([session], talk, answered)
    known = {answer.request.id: Spoken(answer.choices[0].text, (40,)) for answer in answers}
    for turn, answer in zip(turns, answers, strict=True):
        body = json.loads(filled(turn.body, known) or b"")
        assert isinstance(answer.request, ChatRequest)
        said = [{"role": one.role, "content": one.content} for one in answer.request.messages]
        assert body["messages"] == said
        assert answer.request.prompt_ids == wire.template.ids(answer.request.messages)
    last = answers[-1].request
    text = chat_vocabulary.decode(last.prompt_ids)
    assert text.startswith('[system] Be brief.\n[user] Hello\n[assistant] said "0"\n[user] And?\n')
    assert isinstance(last.prompt_ids, Conditioned)
    assert json.loads(turns[-1].body)["response_format"]["json_schema"]["strict"]


def test_room_is_left_for_answers_that_are_spelt_again(wire: ChatWire, talk: Talk) -> None:
    free, bound = chat(wire, 0, "Hello"), chat(wire, 0, "Hello", schema="{}")
    assert talk.room(free) == len(free.prompt_ids) + SPELT_AGAIN * 4
    assert talk.room(bound) == len(bound.prompt_ids) + 4


def test_a_chat_of_a_trace_says_its_words_and_is_no_longer(
    wire: ChatWire, talk: Talk, chat_vocabulary: Vocabulary
) -> None:
    draws = random.Random(3)
    shared = tuple(draws.choices(chat_vocabulary.spelt, k=60))
    given = chat(wire, 0, "Be brief.", "something else", schema="{}")
    predicted = replace(given, prediction="as before", ignore_eos=False)
    one, two = (
        talk.worded(predicted, (*chat_vocabulary.prefix, *shared, *draws.choices(chat_vocabulary.spelt, k=40)))
        for _ in range(2)
    )
    for found in (one, two):
        assert isinstance(found, ChatRequest)
        assert 90 <= len(found.prompt_ids) <= 101
        assert found.prompt_ids == wire.template.ids(found.messages)
        assert (found.schema, found.prediction, found.ignore_eos) == ("", None, True)
    beginning = chat_vocabulary.decode(shared[:50])
    assert all(
        found.messages[-1].content.startswith(beginning) for found in (one, two) if isinstance(found, ChatRequest)
    )
    assert one.prompt_ids[:50] == two.prompt_ids[:50]
    assert one.prompt_ids != two.prompt_ids


def test_a_completion_of_a_trace_is_its_ids(chat_target: Target, chat_vocabulary: Vocabulary) -> None:
    plain = Request(id=0, prompt_ids=(1, 2), max_tokens=4, prompt_text="text", prediction="as before")
    found = TextWire(chat_target, chat_vocabulary).worded(plain, (5, 6, 7))
    assert (found.prompt_ids, found.prompt_text, found.prediction) == ((5, 6, 7), "", None)
