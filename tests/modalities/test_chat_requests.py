"""Chats are drawn with every kind of twin and prediction, and any request can be said as a chat."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.modalities.chat.bench import ChatWire
from pytest_vibeserve.modalities.chat.requests import ChatWorkload, as_chat
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary


@pytest.fixture(scope="module")
def wire(chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary) -> ChatWire:
    return ChatWire(chat_target, chat_vocabulary, chat_model)


@pytest.fixture
def workload(wire: ChatWire) -> ChatWorkload:
    return wire.workload(random.Random(4))


def test_prompts_are_the_templates(workload: ChatWorkload, chat_vocabulary: Vocabulary) -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hello"))
    text = chat_vocabulary.decode(workload.template.ids(messages))
    assert text == "[system] Be brief.\n[user] Hello\n[assistant] "
    assert workload.template.ids(messages)[0] == 0


def test_half_are_constrained_and_each_has_its_twins(workload: ChatWorkload) -> None:
    chats = workload.requests(16)
    constrained = [chat for chat in chats if chat.schema]
    assert [chat.id for chat in chats] == list(range(16))
    twins = {"schema twin", "wording twin", "shape twin", "order twin"}
    assert {chat.kind for chat in constrained} == {"json", "decoy"} | twins
    assert len(constrained) == 8
    for chat in constrained:
        assert isinstance(chat.prompt_ids, Conditioned)
        assert chat.prompt_ids.condition == chat.schema
    by_kind = {kind: [chat for chat in workload.constrained(4) if chat.kind == kind] for kind in ("json", "decoy")}
    assert "code of the" in by_kind["decoy"][0].messages[-1].content


def test_predictions_are_right_spoilt_empty_and_foreign(workload: ChatWorkload) -> None:
    chats = workload.requests(8)
    answers = [
        Answer(chat, 200, "", (Choice(0, (40,), f"answer {index}", "stop"),)) for index, chat in enumerate(chats)
    ]
    again = workload.predicted(answers)
    assert [chat.kind.split()[0] for chat in again[:4]] == ["right", "spoilt", "empty", "foreign"]
    assert (again[0].prediction, again[2].prediction) == ("answer 0", "")
    assert again[1].prediction != "answer 1"
    assert [chat.messages for chat in again] == [chat.messages for chat in chats]


def test_any_request_can_be_said_as_a_chat(workload: ChatWorkload, chat_vocabulary: Vocabulary) -> None:
    plain = Request(id=5, prompt_ids=chat_vocabulary.encode("def f():"), max_tokens=7, temperature=0.5, stream=False)
    chat = as_chat(plain, workload)
    assert isinstance(chat, ChatRequest)
    assert (chat.id, chat.max_tokens, chat.temperature, chat.stream) == (5, 7, 0.5, False)
    assert chat.messages == (Message("user", "def f():"),)
    assert as_chat(chat, workload) is chat


def test_a_whole_answer_without_an_end_token_is_given_one(wire: ChatWire) -> None:
    chat = wire.workload(random.Random(1)).constrained(1)[0]
    assert wire.grammar is not None
    ids: list[int] = []
    while not wire.grammar.complete(chat.schema, ids):
        ids.append(int(wire.grammar.next_allowed(chat.schema, ids).argmax()))
    choice = Choice(0, tuple(ids), wire.vocabulary.decode(ids), "stop")
    assert wire._ended(choice, chat).ids == (*ids, 1)
    assert wire._ended(Choice(0, tuple(ids[:-1]), "", "stop"), chat).ids == tuple(ids[:-1])
