"""Latencies as counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.distributions import RATIO, distribution


@given(st.lists(st.floats(0.011, 1e6), min_size=1, max_size=60))
def test_every_request_lies_in_the_bin_that_counts_it(values: list[float]) -> None:
    found = distribution("ttft", "c16", values)
    assert sum(found.counts) == len(values)
    for place, count in enumerate(found.counts):
        low = found.first * found.ratio**place
        # The ends of bins are rounded: what lies on one may be counted on either side.
        inside = sum(low * 1.0001 <= value < low * RATIO * 0.9999 for value in values)
        around = sum(low * 0.9999 <= value < low * RATIO * 1.0001 for value in values)
        assert inside <= count <= around


def test_what_was_never_answered_is_told_apart() -> None:
    found = distribution("ttft", "c16", [10.0, math.inf, 10.0])
    assert (found.counts, found.unanswered) == ((2,), 1)
    nothing = distribution("ttft", "c16", [math.inf])
    assert (nothing.counts, nothing.unanswered) == ((), 1)


def test_zero_counts_in_the_least_bin() -> None:
    assert distribution("itl", "c1", [0.0]).first == pytest.approx(0.01, rel=RATIO - 1)


def test_a_thousand_requests_take_little_room() -> None:
    found = distribution("ttft", "c16", [1.5 ** (n / 50) for n in range(1000)])
    assert len(found.model_dump_json()) < 600
