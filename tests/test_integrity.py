"""What the answers of a load must satisfy whatever they say, each as a check with its statistic and limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.integrity import Run, traffic_checks
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Limits, Target, load_target
from pytest_vibeserve.workload import Request

LIMITS = Limits(longest_wait_s=5)
TARGET: Target = load_target("tiny_llama", "tiny").model_copy(update={"limits": LIMITS})
C16 = Load(name="c16", concurrency=16)


def answered(tokens: int = 8, asked: int = 8, *, done_s: float = 1.0, groups: Sequence[int] = ()) -> Answer:
    """An answer of `tokens` tokens where `asked` were asked for, in events of these sizes."""
    request = Request(id=3, prompt_ids=(0, 5), max_tokens=asked)
    events = tuple(Event(0.1 * number, 0, size, "") for number, size in enumerate(groups or [1] * tokens))
    return Answer(request, 200, "", (Choice(0, tuple(range(tokens)), "", "length"),), events, done_s=done_s)


def checked(*answers: Answer, load: Load = C16, wall_s: float | None = None) -> dict[str, Check]:
    ended_s = max((answer.done_s for answer in answers), default=1.0)
    block = Block(answers, ended_s if wall_s is None else wall_s, load.is_open)
    return {check.name: check for check in traffic_checks(Run(load, (block,)), TARGET)}


def test_ordinary_answers_break_nothing() -> None:
    assert {check.result for check in checked(answered(), answered()).values()} == {"pass", "skip"}


def test_every_check_carries_its_statistic_its_limit_and_the_load() -> None:
    for check in checked(answered()).values():
        assert check.detail.startswith("c16: ")
        assert check.result == "skip" or (check.statistic is not None and check.threshold is not None)


def test_what_speech_cannot_show_is_said_of_speech() -> None:
    streams = Load(name="streams", arrival="streams", concurrency=8)
    whole = replace(answered(), request=replace(answered().request, stream=False))
    found = checked(*[whole] * 20, load=streams)
    said = {
        "service.arrivals": "audio is sent as it is spoken", "service.fairness": "only a closed loop has turns",
        "stream.bursts": "no stream of tokens could show any",
        "stream.first-token": "no stream of tokens could show it",
    }  # fmt: skip
    assert {name: (found[name].result, found[name].detail) for name in said} == {
        name: ("skip", f"streams: {words}") for name, words in said.items()
    }


def test_one_refused_request_of_many_is_refused_service() -> None:
    refused = replace(answered(), fault="HTTP 503: 'busy'", choices=())
    found = checked(*[answered()] * 99, refused)["service.answered"]
    assert (found.result, found.statistic) == ("fail", 1)
    assert found.example == "request 3: HTTP 503: 'busy'"


def test_the_wait_counts_from_the_schedule() -> None:
    late = replace(answered(done_s=6.0), sent_s=5.5, scheduled_s=0.5)
    assert checked(answered(), late)["service.longest-wait"].result == "fail"
    assert checked(answered(done_s=5.0))["service.longest-wait"].result == "pass"


@given(tokens=st.integers(0, 40), asked=st.integers(1, 40))
def test_an_answer_has_exactly_the_length_that_was_asked_for(tokens: int, asked: int) -> None:
    found = checked(answered(tokens, asked, groups=[1]))["length.max-tokens"]
    assert (found.result == "pass") == (tokens == asked)


@pytest.mark.parametrize("change", [{"ignore_eos": False}, {"stop": ("x",)}])
@given(tokens=st.integers(0, 40), asked=st.integers(1, 40))
def test_an_answer_that_may_end_early_is_never_longer(change: dict[str, object], tokens: int, asked: int) -> None:
    plain = answered(tokens, asked, groups=[1])
    ending = replace(plain, request=replace(plain.request, **change))  # type: ignore[arg-type]
    assert (checked(ending)["length.max-tokens"].result == "pass") == (tokens <= asked)


@pytest.mark.parametrize("ignore_eos", [True, False])
@pytest.mark.parametrize("tokens", [6, 24])
def test_retokenised_text_need_not_have_the_same_number_of_tokens(tokens: int, ignore_eos: bool) -> None:
    plain = answered(tokens, 8)
    request = replace(plain.request, ignore_eos=ignore_eos)
    retokenised = replace(plain, request=request, choices=(replace(plain.choices[0], retokenised=True),))
    assert checked(retokenised)["length.max-tokens"].result == "pass"
    assert retokenised.tokens == min(tokens, 8)


def test_an_answer_in_one_piece_is_no_stream() -> None:
    whole = answered(40, 40, groups=[40])
    assert checked(whole)["stream.group-size"].result == "fail"
    unstreamed = replace(whole, request=replace(whole.request, stream=False))
    assert checked(unstreamed)["stream.group-size"].result == "pass"


@given(groups=st.lists(st.integers(1, 2 * LIMITS.step_tokens), min_size=1, max_size=5))
def test_no_event_of_a_stream_is_larger_than_a_verified_draft(groups: list[int]) -> None:
    found = checked(answered(sum(groups), sum(groups), groups=groups))["stream.group-size"]
    assert (found.result == "pass") == (max(groups) <= LIMITS.step_tokens)


def stream(*instants: tuple[float, int], sent_s: float = 0.0) -> Answer:
    """A stream of single-token events, so many at each instant."""
    tokens = sum(count for _, count in instants)
    events = tuple(Event(at, 0, 1, "") for at, count in instants for _ in range(count))
    return replace(answered(tokens, tokens), events=events, sent_s=sent_s, done_s=instants[-1][0])


def test_tokens_that_come_all_at_one_instant_were_held_back() -> None:
    steady = stream(*[(0.1 * number, 1) for number in range(1, 41)])
    burst = stream((4.0, 40))
    assert checked(*[burst] * 3, steady)["stream.bursts"].result == "fail"
    assert checked(burst, *[steady] * 3)["stream.bursts"].result == "pass"


def test_a_lone_stream_that_comes_in_its_last_moment_was_held_back() -> None:
    alone = Load(name="c1", concurrency=1)
    late = stream(*[(1.0 + 0.005 * number, 1) for number in range(1, 13)])
    found = {check.name: check for check in traffic_checks(Run(alone, (Block((late,) * 3, 3.2),)), TARGET)}
    assert found["stream.bursts"].result == "fail"
    assert checked(*[late] * 3)["stream.bursts"].result == "pass", "under load a stream may wait for its turn"


def test_a_first_token_that_waits_for_others_was_held_back() -> None:
    held = stream((0.8, 8), *[(0.8 + 0.1 * number, 1) for number in range(1, 9)])
    found = checked(*[held] * 4)["stream.bursts"]
    assert (found.result, found.statistic) == ("fail", 1)


def test_what_the_whole_run_made_in_a_moment_may_come_together() -> None:
    quick = [stream((0.004, 8), (0.008, 8)) for _ in range(50)]
    assert checked(*quick)["stream.bursts"].result == "skip"
    apart = [replace(one, sent_s=10.0 * place, done_s=10 * place + 0.008) for place, one in enumerate(quick)]
    assert checked(*apart)["stream.bursts"].result == "skip", "pauses in which nobody asks are no time to hold back in"


def test_streams_too_short_to_show_a_burst_are_not_counted() -> None:
    burst, short = stream((4.0, 40)), stream((4.0, 1))
    found = checked(*[burst] * 3, *[short] * 30)["stream.bursts"]
    assert (found.result, found.statistic) == ("fail", 1)
    assert checked(*[burst] * 2, *[short] * 30)["stream.bursts"].result == "skip", "they may have met a hiccup"


def test_all_tokens_but_the_first_at_one_late_instant_are_odd_where_nobody_else_is_served() -> None:
    alone = Load(name="c1", concurrency=1)
    late = stream((0.1, 1), (1.0, 11), sent_s=0.05)
    soon = stream((0.1, 1), (0.15, 11), sent_s=0.05)
    assert checked(*[late] * 3, load=alone)["stream.first-token"].result == "fail"
    assert checked(*[soon] * 3, load=alone)["stream.first-token"].result == "pass"


def test_drafts_that_are_accepted_after_the_first_token_are_no_bursts() -> None:
    drafted = stream((0.1, 1), (0.2, 12), (0.3, 1), (0.4, 16))
    assert checked(*[drafted] * 4)["stream.bursts"].result == "pass"


def test_text_before_the_first_id_is_no_first_token() -> None:
    plain = stream(*[(0.1 * number, 1) for number in range(1, 9)])
    dummy = replace(plain, events=(Event(0.01, 0, 0, " "), *plain.events))
    assert checked(*[dummy] * 3)["stream.first-token"].result == "fail"
    assert checked(*[plain] * 3)["stream.first-token"].result == "pass"


def test_a_first_token_far_ahead_of_a_second_is_odd_where_nobody_else_is_served() -> None:
    early = stream((0.01, 1), *[(0.5 + 0.01 * number, 1) for number in range(8)])
    assert checked(*[early] * 3, load=Load(name="c1", concurrency=1))["stream.first-token"].result == "fail"
    assert checked(*[early] * 3)["stream.first-token"].result == "pass"


def test_goodput_counts_what_was_issued() -> None:
    refused = replace(answered(), fault="HTTP 503: 'busy'", choices=())
    late = answered(done_s=6.0)
    found = checked(answered(), answered(), refused, late)["service.goodput"]
    assert (found.result, found.statistic) == ("fail", 0.5)


def test_the_time_after_the_last_request_is_counted() -> None:
    assert checked(answered(done_s=9.0), wall_s=8.0)["service.drain"].result == "fail"
    assert checked(answered(done_s=4.0), wall_s=4.0)["service.drain"].statistic == 4.0


def test_a_client_that_sends_late_is_not_the_candidates_fault() -> None:
    poisson = Load(name="poisson", arrival="poisson", rate=2.0)
    late = replace(answered(), scheduled_s=0.0, sent_s=0.3)
    assert checked(late, load=poisson)["service.arrivals"].result == "skip"
    assert checked(answered(), load=poisson)["service.arrivals"].result == "pass"


def in_turn(order: Sequence[int], streams: int = 4, step_s: float = 0.1) -> list[Answer]:
    """A closed loop over requests of equal length, served one at a time in this order of arrival."""
    waiting, sent, done, served = list(range(streams)), {}, {}, 0
    for one in waiting:
        sent[one] = 0.0
    while waiting:
        one = waiting.pop(order[served] if order[served] < len(waiting) else 0)
        served += 1
        done[one] = served * step_s
        if len(sent) < len(order):
            sent[len(sent)] = done[one]
            waiting.append(len(sent) - 1)
    return [replace(answered(), sent_s=sent[one], done_s=done[one]) for one in sent]


def test_a_queue_that_serves_in_turn_is_fair_and_one_that_serves_the_last_is_not() -> None:
    load = Load(name="c4", concurrency=4)
    fair, unfair = in_turn([0] * 48), in_turn([3] * 48)
    assert checked(*fair, load=load)["service.fairness"].result == "pass"
    found = checked(*unfair, load=load)["service.fairness"]
    assert found.result == "fail"
    assert (found.statistic or 0) > (found.threshold or 0)


def test_turns_are_counted_where_requests_have_no_tokens_at_all() -> None:
    load = Load(name="c4", concurrency=4)
    for order, said in ((0, "pass"), (3, "fail")):
        images = [
            replace(one, request=replace(one.request, prompt_ids=(), max_tokens=0)) for one in in_turn([order] * 48)
        ]
        assert checked(*images, load=load)["service.fairness"].result == said


def test_too_few_requests_say_nothing_about_turns() -> None:
    assert checked(*[answered()] * 20)["service.fairness"].result == "skip"


def test_no_answers_break_nothing() -> None:
    assert {check.result for check in checked().values()} == {"pass", "skip"}
