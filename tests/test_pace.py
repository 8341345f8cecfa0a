"""Streams show the time in which their tokens are made, whatever pace they pretend."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.integrity import pace
from pytest_vibeserve.integrity.run import Pair, Run
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.workload import Request

LOADS = (Load(name="c1", concurrency=1), Load(name="c20", concurrency=20))
PREFILL_S, STEP_S, SPACING_S = 0.1, 0.005, 0.0001


def answer(tokens: int = 16, *, first_s: float, step_s: float, done_s: float, **fields: object) -> Answer:
    """A stream of single tokens, `step_s` apart from `first_s` on."""
    request = replace(Request(id=0, prompt_ids=(1, 2), max_tokens=tokens), **fields)  # type: ignore[arg-type]
    events = tuple(Event(first_s + number * step_s, 0, 1, "") for number in range(tokens))
    choices = (Choice(0, tuple(range(tokens)), "", "length"),)
    return Answer(request, 200, "", choices, events, done_s=done_s)


def honest(tokens: int = 16, **fields: object) -> Answer:
    """Every token as soon as it is made."""
    done_s = PREFILL_S + (tokens - 1) * STEP_S
    return answer(tokens, first_s=PREFILL_S, step_s=STEP_S, done_s=done_s, **fields)


def held(tokens: int = 16, **fields: object) -> Answer:
    """All tokens when the last is made, one after the other."""
    last_s = PREFILL_S + (tokens - 1) * STEP_S
    return answer(tokens, first_s=last_s, step_s=SPACING_S, done_s=last_s + tokens * SPACING_S, **fields)


def of_half(tokens: int = 100) -> Answer:
    """Nothing before half of it is there, then what is there, and the rest as it is made."""
    whole, half = honest(tokens), tokens // 2
    ready_s = whole.events[half].at_s
    return replace(whole, events=tuple(replace(one, at_s=max(one.at_s, ready_s)) for one in whole.events))


def run(*answers: Answer, alone: Sequence[Pair] = (), load: Load = LOADS[0]) -> Run:
    block = Block(answers, max(one.done_s for one in answers))
    return Run(load, (block,), alone=tuple(alone))


def pairs(whole: Answer, count: int = 6) -> list[Pair]:
    """Lone answers of a server whose whole answers are like this one."""
    first = honest(1)
    return [Pair(first, whole)] * count


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_a_finished_answer_that_is_sent_piece_by_piece_was_held_back(load: Load) -> None:
    assert pace.is_doubted(run(*[held()] * 9, load=load))
    found = pace.paced(run(*[held()] * 9, alone=pairs(held()), load=load))
    assert found.result == "fail"
    assert found.statistic == pytest.approx((15 * SPACING_S + pace.TURN_S) / (15 * STEP_S), rel=0.05)


def test_an_answer_of_which_half_was_held_back_is_seen() -> None:
    found = pace.paced(run(*[of_half()] * 5, alone=pairs(of_half())))
    assert (found.result, round(found.statistic or 0, 1)) == ("fail", 0.5)


def test_quick_steps_after_a_long_prompt_or_a_long_wait_hold_nothing_back() -> None:
    quick = answer(first_s=PREFILL_S, step_s=0.0002, done_s=PREFILL_S + 0.003)
    assert pace.is_doubted(run(*[quick] * 9))
    assert pace.paced(run(*[quick] * 9, alone=pairs(quick))).result == "pass"
    waited = replace(honest(), sent_s=-2.0)
    assert pace.paced(run(*[waited] * 9, alone=pairs(honest()), load=LOADS[1])).result == "pass"


def test_events_of_four_steps_hold_nothing_back() -> None:
    whole = honest(12)
    events = tuple(replace(whole.events[4 * place + 3], tokens=4) for place in range(3))
    grouped = replace(whole, events=events)
    assert pace.paced(run(*[grouped] * 9, alone=pairs(grouped))).result == "pass"


def test_a_stream_that_took_most_of_its_time_needs_no_pairs() -> None:
    steady = answer(first_s=0.02, step_s=STEP_S, done_s=0.1)
    assert not pace.is_doubted(run(*[steady] * 3))
    assert pace.paced(run(*[steady] * 3)).result == "pass"


def test_where_nothing_tells_what_a_token_costs_nothing_is_said() -> None:
    assert pace.paced(run(*[held()] * 9)).result == "skip"
    assert pace.paced(run(*[held()] * 2, alone=pairs(held()))).result == "skip", "they may have met a hiccup"
    assert pace.paced(run(*[held(tokens=pace.LONG_ANSWER - 1)] * 9, alone=pairs(held()))).result == "skip"


@pytest.mark.parametrize("fields", [{"prediction": "x"}, {"n": 2}, {"stream": False}], ids=str)
def test_answers_whose_tokens_may_share_steps_with_the_prompt_or_each_other_say_nothing(
    fields: dict[str, object],
) -> None:
    assert pace.paced(run(*[held(**fields)] * 9, alone=pairs(held()))).result == "skip"


def test_hiccups_make_no_token_dear() -> None:
    slow = [Pair(honest(1), replace(honest(), done_s=3.0))] * 4
    known = run(*[honest()] * 9, alone=[*slow, *pairs(honest(), 2)])
    assert known.token_s == pytest.approx(STEP_S)
    assert pace.paced(known).result == "pass"


def test_a_machine_that_became_slower_is_no_fault_of_the_streams_before() -> None:
    late = replace(honest(), sent_s=-2.0)
    slow = answer(first_s=8 * PREFILL_S, step_s=8 * STEP_S, done_s=8 * (PREFILL_S + 15 * STEP_S))
    alone = [Pair(replace(honest(1), done_s=8 * PREFILL_S), slow)] * 6
    known = run(*[late] * 9, alone=alone, load=LOADS[1])
    assert pace.is_doubted(known)
    again = replace(known, beside=(replace(slow, sent_s=-2.0),) * 9)
    assert not pace.is_doubted(again)
    assert pace.paced(again).result == "pass"
    assert pace.paced(replace(known, beside=(replace(held(), sent_s=-2.0),) * 9)).result == "fail"


def test_an_answer_that_fails_alone_tells_nothing_for_its_server() -> None:
    refused = replace(honest(1), fault="HTTP 503: 'busy'")
    found = pace.paced(run(*[held()] * 9, alone=[Pair(refused, held())] * 6))
    assert (found.result, found.example) == ("fail", "HTTP 503: 'busy'")
    silent = replace(run(*[held()] * 9, alone=pairs(held())), beside=(replace(held(), fault="HTTP 503: 'busy'"),) * 9)
    assert pace.paced(silent).result == "fail", "who fails what is asked beside is not let off"


def test_each_prompt_is_asked_alone_for_one_token_and_for_all_in_random_order() -> None:
    drawn = [
        replace(honest(12).request, prompt_ids=(7, index), ignore_eos=False, logprobs=5, temperature=1.0, stream=False)
        for index in range(40)
    ]
    drawn += [replace(drawn[0], max_tokens=2), replace(drawn[0], prediction="x"), replace(drawn[0], n=2)]
    asked: list[Request] = []

    def ask(requests: Sequence[Request]) -> list[Answer]:
        asked.extend(requests)
        return [replace(honest(one.max_tokens), request=one) for one in requests]

    found = pace.paired(ask, drawn, random.Random(3))
    assert [one.id for one in asked] == list(range(120))
    lengths = [tuple(one.max_tokens for one in asked[place : place + 3]) for place in range(0, 120, 3)]
    assert set(lengths) == {(1, 1, 12), (1, 12, 1)}
    assert all((one.stream, one.ignore_eos, one.temperature, one.logprobs) == (True, True, 0, None) for one in asked)
    for pair, request in zip(found, drawn, strict=False):
        assert (pair.first.tokens, pair.whole.tokens) == (1, 12)
        assert pair.first.request.prompt_ids == pair.whole.request.prompt_ids == request.prompt_ids
        assert pair.token_s == pytest.approx(STEP_S)
