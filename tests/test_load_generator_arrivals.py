"""Arrival times of the open loop."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import constant, gamma, poisson


def test_arrivals_have_the_rate_asked_for_and_come_from_the_seed_alone() -> None:
    assert constant(4, 3) == (0.0, 0.25, 0.5)
    for times in (poisson(50, 20_000, Random(1)), gamma(50, 20_000, 0.5, Random(1)), gamma(50, 20_000, 4, Random(1))):
        assert list(times) == sorted(times)
        assert times[-1] / len(times) == pytest.approx(1 / 50, rel=0.05)
    assert poisson(50, 100, Random(7)) == poisson(50, 100, Random(7)) != poisson(50, 100, Random(8))


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_burstiness_sets_how_uneven_the_gaps_are(burstiness: float) -> None:
    gaps = [late - early for early, late in pairwise(gamma(10, 50_000, burstiness, Random(3)))]
    mean = sum(gaps) / len(gaps)
    variation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean
    assert variation == pytest.approx(burstiness**-0.5, rel=0.05)


def test_arrivals_without_a_rate_are_refused() -> None:
    with pytest.raises(UsageError, match="rate"):
        poisson(0, 1, Random(1))
    with pytest.raises(UsageError, match="burstiness"):
        gamma(1, 1, 0, Random(1))
