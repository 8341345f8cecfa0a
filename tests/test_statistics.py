"""Intervals cover what they claim, and conclusions are drawn from whole intervals only."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.statistics import (
    MINIMUM_EFFECT,
    Interval,
    alternation,
    conclusion,
    mean_interval,
    rate_interval,
    student_t,
)

positive = st.floats(min_value=1e-6, max_value=1e9)
EXACT_T = {1: 12.706, 2: 4.303, 5: 2.571, 15: 2.131, 16: 2.120, 20: 2.086, 25: 2.060, 29: 2.045, 30: 2.042, 100: 1.984}


@pytest.mark.parametrize(("degrees", "exact"), EXACT_T.items())
def test_students_quantile_is_exact_in_the_table_and_never_too_narrow_beyond_it(degrees: int, exact: float) -> None:
    assert exact - 0.0005 <= student_t(degrees) <= exact + 0.06


def test_without_a_degree_of_freedom_there_is_no_interval() -> None:
    assert student_t(0) == math.inf
    assert mean_interval([3.0]) == Interval(3.0, -math.inf, math.inf)


def test_students_quantile_falls_with_the_degrees_of_freedom() -> None:
    quantiles = [student_t(degrees) for degrees in range(1, 60)]
    assert quantiles == sorted(quantiles, reverse=True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_an_interval_holds_its_own_estimate(samples: list[float]) -> None:
    found = mean_interval(samples)
    assert found.low <= found.value <= found.high


@given(st.lists(positive, min_size=1, max_size=12))
def test_a_rate_interval_is_positive_and_holds_its_estimate(samples: list[float]) -> None:
    found = rate_interval(samples)
    assert 0 <= found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9)


@given(st.lists(positive, min_size=2, max_size=8), st.floats(min_value=1e-3, max_value=1e3))
def test_a_rate_interval_does_not_depend_on_the_unit(samples: list[float], factor: float) -> None:
    plain, scaled = rate_interval(samples), rate_interval([sample * factor for sample in samples])
    assert scaled.value == pytest.approx(plain.value * factor, rel=1e-6)
    if math.isfinite(plain.high) and math.isfinite(scaled.high):
        assert scaled.high / scaled.value == pytest.approx(plain.high / plain.value, rel=1e-4)


def test_a_block_without_a_token_leaves_the_interval_open() -> None:
    assert rate_interval([0.0, 10.0]) == Interval(5.0, 0.0, math.inf)


@pytest.mark.parametrize("repeats", [3, 5, 8])
def test_an_interval_covers_the_truth_in_about_nineteen_of_twenty_experiments(repeats: int) -> None:
    draws, truth, experiments = random.Random(repeats), 100.0, 4000
    covered = 0
    for _ in range(experiments):
        found = rate_interval([truth * math.exp(draws.gauss(0, 0.05)) for _ in range(repeats)])
        covered += found.low <= truth <= found.high
    expected, tolerance = 0.95, NormalDist().inv_cdf(1 - 1e-6) * math.sqrt(0.95 * 0.05 / experiments)
    assert abs(covered / experiments - expected) < tolerance


def test_two_equal_candidates_are_hardly_ever_told_apart() -> None:
    draws, experiments = random.Random(20), 2000
    said = [conclusion(rate_interval([math.exp(draws.gauss(0, 0.05)) for _ in range(8)])) for _ in range(experiments)]
    assert said.count("better") < 0.05 * experiments
    assert said.count("worse") < 0.05 * experiments


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1 + 2 * MINIMUM_EFFECT, 1.5, "better"),
        (0.5, 1 - 2 * MINIMUM_EFFECT, "worse"),
        (0.9, 1.5, "no difference shown"),
        (1 + MINIMUM_EFFECT / 2, 1.5, "no difference shown"),
        (0.5, 1 - MINIMUM_EFFECT / 2, "no difference shown"),
        (-math.inf, math.inf, "no difference shown"),
    ],
)
def test_only_an_interval_beyond_the_minimum_effect_is_a_difference(low: float, high: float, said: str) -> None:
    assert conclusion(Interval(1.0, low, high)) == said


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_each_pair_of_blocks_holds_candidate_and_baseline_in_the_order_drawn(first: list[bool]) -> None:
    order = alternation(len(first), first)
    pairs = list(zip(order[::2], order[1::2], strict=True))
    assert [pair[0] == "candidate" for pair in pairs] == first
    assert all(set(pair) == {"candidate", "baseline"} for pair in pairs)
