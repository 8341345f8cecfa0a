"""What the answers of a load must satisfy whatever they say, each as a check with its statistic and limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.integrity import LARGEST_GROUP, traffic_checks
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Limits
from pytest_vibeserve.workload import Request

LIMITS = Limits(longest_wait_s=5)


def answered(tokens: int = 8, asked: int = 8, *, done_s: float = 1.0, groups: Sequence[int] = ()) -> Answer:
    """An answer of `tokens` tokens where `asked` were asked for, in events of these sizes."""
    request = Request(id=3, prompt_ids=(0, 5), max_tokens=asked)
    events = tuple(Event(0.1 * number, 0, size, "") for number, size in enumerate(groups or [1] * tokens))
    return Answer(request, 200, "", (Choice(0, tuple(range(tokens)), "", "length"),), events, done_s=done_s)


def checked(*answers: Answer) -> dict[str, Check]:
    return {check.name: check for check in traffic_checks(answers, LIMITS, "c16")}


def test_ordinary_answers_pass_every_check() -> None:
    assert {check.result for check in checked(answered(), answered()).values()} == {"pass"}


def test_every_check_carries_its_statistic_its_limit_and_the_load() -> None:
    for check in checked(answered()).values():
        assert check.statistic is not None
        assert check.threshold is not None
        assert check.detail.startswith("c16: ")


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


def test_retokenised_text_need_not_have_the_same_number_of_tokens() -> None:
    plain = answered(6, 8)
    retokenised = replace(plain, choices=(replace(plain.choices[0], retokenised=True),))
    assert checked(retokenised)["length.max-tokens"].result == "pass"


def test_an_answer_in_one_piece_is_no_stream() -> None:
    whole = answered(40, 40, groups=[40])
    assert checked(whole)["stream.group-size"].result == "fail"
    unstreamed = replace(whole, request=replace(whole.request, stream=False))
    assert checked(unstreamed)["stream.group-size"].result == "pass"


@given(groups=st.lists(st.integers(1, 2 * LARGEST_GROUP), min_size=1, max_size=5))
def test_no_event_of_a_stream_is_larger_than_a_verified_draft(groups: list[int]) -> None:
    found = checked(answered(sum(groups), sum(groups), groups=groups))["stream.group-size"]
    assert (found.result == "pass") == (max(groups) <= LARGEST_GROUP)


def test_single_tokens_that_come_all_at_one_instant_were_held_back() -> None:
    held = [replace(event, at_s=0.5) for event in answered(40, 40).events]
    burst = replace(answered(40, 40), events=tuple(held))
    assert checked(burst, answered())["stream.bursts"].result == "fail"
    assert checked(burst, *[answered(40, 40)] * 3)["stream.bursts"].result == "pass"


def test_no_answers_break_nothing() -> None:
    assert {check.result for check in checked().values()} == {"pass"}
