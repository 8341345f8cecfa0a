"""Sessions of several turns: grouped from fresh requests, chained as exchanges, audited with what was really sent."""

from __future__ import annotations

import json
import random
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.session_turns import asked, exchanges, grouped
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary

TURNS = (2, 3)


@pytest.fixture
def wire(tiny: Target, vocabulary: Vocabulary) -> TextWire:
    return TextWire(tiny, vocabulary)


def room(request: Request) -> int:
    return len(request.prompt_ids) + request.max_tokens


def request(id: int, prompt: int = 4, tokens: int = 3) -> Request:
    return Request(id=id, prompt_ids=tuple(range(100 * id, 100 * id + prompt)), max_tokens=tokens, prompt_text="text")


def answered(request: Request, fault: str = "") -> Answer:
    ids = () if fault else tuple(900 + request.id for _ in range(request.max_tokens))
    return Answer(request, 200, fault, (Choice(0, ids, "", "length"),) if ids else ())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40), st.integers(60, 200), st.integers())
def test_every_request_is_in_one_session_that_fits_the_context(
    lengths: list[tuple[int, int]], context: int, seed: int
) -> None:
    requests = [request(id, prompt, tokens) for id, (prompt, tokens) in enumerate(lengths)]
    draws = random.Random(seed)
    sessions = grouped(requests, (draws.randint(*TURNS) for _ in requests), context, room)
    assert [turn.id for session in sessions for turn in session] == list(range(len(requests)))
    for session in sessions:
        assert 1 <= len(session) <= TURNS[1]
        assert sum(len(turn.prompt_ids) + turn.max_tokens for turn in session) <= context
        assert all(turn.stream and not turn.prompt_text for turn in session)


def test_sessions_have_the_turns_that_they_are_asked_to_have() -> None:
    requests = [request(id) for id in range(7)]
    assert [len(one) for one in grouped(requests, iter((2, 4)), 1000, room)] == [2, 4, 1]
    assert [len(one) for one in grouped(requests, cycle((3,)), 15, room)] == [2, 2, 2, 1], (
        "the context has room for two"
    )


def test_a_turn_asks_with_all_that_was_said_before_it(wire: TextWire) -> None:
    first, second, third = exchanges([(request(0), request(1), request(2))], wire, 0.5, 20)
    assert [one.after for one in (first, second, third)] == [None, 0, 1]
    assert json.loads(first.body)["prompt"] == [0, 1, 2, 3]
    assert json.loads(second.body)["prompt"] == [0, 1, 2, 3, "@ids:0", 100, 101, 102, 103]
    assert json.loads(third.body)["prompt"][9:] == ["@ids:1", 200, 201, 202, 203]
    assert (first.think_s, second.think_s, second.timeout_s) == (0.0, 0.5, 20)
    assert {one.path for one in (first, second, third)} == {"/v1/completions"}


def test_an_answer_is_audited_with_the_whole_prompt_that_was_sent(wire: TextWire) -> None:
    answers = asked([(request(0), request(1)), (request(2),)], wire, answered)
    assert answers[1].request.prompt_ids == (0, 1, 2, 3, 900, 900, 900, 100, 101, 102, 103)
    assert answers[2].request.prompt_ids == (200, 201, 202, 203)


def test_a_turn_that_was_never_sent_is_still_an_answer_with_a_fault(wire: TextWire) -> None:
    answers = asked([(request(0), request(1))], wire, lambda one: answered(one, "not sent" if one.id else "cut short"))
    assert [answer.fault for answer in answers] == ["cut short", "not sent"]
