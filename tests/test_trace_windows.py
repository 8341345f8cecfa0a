"""A trace is replayed window by window, every request once, with fresh prompts that share what the trace's share."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.trace_windows import prompts, windows
from pytest_vibeserve.traces import BLOCK_TOKENS, Arrival


def test_prompts_are_fresh_and_share_what_the_trace_shares() -> None:
    arrivals = (Arrival(0, 1030, 1, (1, 2)), Arrival(0, 1100, 1, (1, 2)), Arrival(0, 900, 1, (1, 3)), Arrival(0, 7, 1))
    draws = random.Random(3)

    def draw(count: int) -> list[int]:
        return draws.choices(range(1000), k=count)

    first, second, third, last = prompts(arrivals, draw, prefix=(5,))
    assert [len(first), len(second), len(third), len(last)] == [1030, 1100, 900, 7]
    assert {ids[0] for ids in (first, second, third, last)} == {5}
    assert first[: 1 + 2 * BLOCK_TOKENS] == second[: 1 + 2 * BLOCK_TOKENS]
    assert first[: 1 + BLOCK_TOKENS] == third[: 1 + BLOCK_TOKENS]
    assert first[1 + BLOCK_TOKENS :][:40] != third[1 + BLOCK_TOKENS :][:40]
    assert next(prompts(arrivals, draw, prefix=(5,))) != first


def test_windows_follow_one_another_and_each_begins_with_its_first_request() -> None:
    arrivals = [Arrival(at_s, number, 10) for number, at_s in enumerate((10, 11, 12, 13, 30, 31), 1)]
    first, second, third = windows(arrivals, 2.0, 1.0)
    assert [(one.at_s, one.input_tokens) for one in first.arrivals] == [(0, 1), (0.5, 2), (1, 3)]
    assert [(one.at_s, one.input_tokens) for one in second.arrivals] == [(0, 4)]
    assert [(one.at_s, one.input_tokens) for one in third.arrivals] == [(0, 5), (0.5, 6)]
    assert [(one.first, one.total) for one in (first, second, third)] == [(0, 6), (3, 6), (4, 6)]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 100), st.floats(0, 1e4))
def test_every_request_of_a_trace_is_in_one_window(times: list[float], speedup: float, seconds: float) -> None:
    arrivals = [Arrival(at_s, number, 1) for number, at_s in enumerate(sorted(times), 1)]
    found = windows(arrivals, speedup, seconds)
    assert [one.input_tokens for window in found for one in window.arrivals] == list(range(1, len(times) + 1))
    for window in found:
        assert window.arrivals[0].at_s == 0
        assert all(0 <= one.at_s <= seconds for one in window.arrivals)
        assert window.arrivals[0].input_tokens == window.first + 1


def test_a_trace_is_one_window_where_no_seconds_are_given() -> None:
    (whole,) = windows([Arrival(5, 1, 1), Arrival(9, 1, 1)], 4.0)
    assert [one.at_s for one in whole.arrivals] == [0, 1]
    assert windows([]) == ()


@pytest.mark.parametrize("speedup", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_up_is_above_nothing_and_finite(speedup: float) -> None:
    with pytest.raises(UsageError, match="above 0 and finite"):
        windows([Arrival(0, 1, 1)], speedup)
