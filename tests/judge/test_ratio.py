"""Ratios, their intervals and what the bounds allow to be said of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_vibeserve.judge.ratio import Bounds, Ratio, binomial_tail, ratio

BOUNDS = Bounds(honest=1.45, forbidden=2.53)


def test_the_limit_lies_between_honest_and_forbidden_in_equal_measure() -> None:
    assert BOUNDS.limit == pytest.approx(1.915, abs=0.01)
    assert BOUNDS.limit / BOUNDS.honest == pytest.approx(BOUNDS.forbidden / BOUNDS.limit)
    assert BOUNDS.honest < BOUNDS.rejected_above < BOUNDS.limit < BOUNDS.accepted_below < BOUNDS.forbidden


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Ratio(3.5, 2.8, 4.4, 99), "fail"),
        (Ratio(1.0, 0.8, 1.3, 99), "pass"),
        (Ratio(1.4, 1.1, 2.1, 99), "pass"),
        (Ratio(2.0, 1.2, 3.0, 99), "undecided"),
        (Ratio(1.8, 1.7, 2.4, 99), "undecided"),
    ],
)
def test_an_interval_decides_only_when_it_clears_the_bounds(found: Ratio, said: str) -> None:
    assert found.said(BOUNDS) == said


def test_the_noisiest_honest_computation_is_the_unit() -> None:
    draws = np.random.default_rng(1)
    noise = draws.exponential(1.0, (200, 1)) * np.array([[0.5, 1.0]])
    found = ratio(2 * noise[:, 1], noise, floor=1e-9)
    assert found.point == pytest.approx(2)
    assert found.low == pytest.approx(2, rel=1e-6)


def test_an_interval_narrows_with_more_requests() -> None:
    draws = np.random.default_rng(2)
    few, many = (ratio(draws.exponential(1, size), draws.exponential(1, (size, 2)), 1e-9) for size in (24, 600))
    assert many.high - many.low < (few.high - few.low) / 3


def test_a_ratio_is_defined_where_nothing_erred() -> None:
    assert ratio(np.zeros(5), np.zeros((5, 3)), floor=0.1).point == 1.0


def test_a_binomial_tail_is_exact() -> None:
    exact = sum(math.comb(8, k) * 0.05**k * 0.95 ** (8 - k) for k in range(5, 9))
    assert binomial_tail(5, 8, 0.05) == pytest.approx(exact)
    assert binomial_tail(0, 8, 0.5) == 1
    assert binomial_tail(1, 8, 0.0) == 0
