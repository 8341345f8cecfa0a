"""When a comparison ends, and which of its quads count."""

from __future__ import annotations

import math
import random

import pytest

from pytest_vibeserve.statistics import GainSequence, quad
from pytest_vibeserve.stopping import BESIDE, EFFORTS, Effort, Tally, effort_beside, ending

EFFORT = Effort(least=2, most=8, seconds=60)


def seen(gain: float, noise: float, count: int) -> GainSequence:
    """What is known after so many quads."""
    draws, gains = random.Random(3), GainSequence()
    for _ in range(count):
        a, b, c, d = (math.exp(draws.gauss(0, noise)) for _ in range(4))
        gains.add(quad((gain * a, gain * b), (c, d)))
    return gains


def test_a_comparison_ends_as_soon_as_it_is_decided_but_not_before_its_least_number() -> None:
    assert ending(seen(2.0, 0.01, 2), 2, 1.0, EFFORT) == "decided"
    assert ending(seen(2.0, 0.01, 2), 2, 1.0, EFFORTS["full"]) is None


def test_it_ends_when_no_difference_is_within_reach() -> None:
    assert ending(seen(1.0, 0.02, 3), 3, 1.0, EFFORT) == "out of reach"
    assert ending(seen(1.0, 0.02, 2), 2, 1.0, EFFORT) is None, "the noise is hardly known yet"


def test_dropped_pairs_count_towards_the_effort() -> None:
    assert ending(seen(1.05, 0.03, 1), EFFORT.most, 1.0, EFFORT) == "pairs spent"


def test_it_ends_before_a_further_quad_would_take_too_long() -> None:
    assert ending(seen(1.05, 0.03, 2), 2, 0.6 * EFFORT.seconds, EFFORT) is None
    assert ending(seen(1.05, 0.03, 2), 2, 0.7 * EFFORT.seconds, EFFORT) == "time spent"


@pytest.mark.parametrize(
    ("steady", "counted"),
    [
        ((True, True, False), 2),
        ((True, False, True), 2),
        ((False, False, True), 3),
        ((True, False, False, False), 4),
        ((True, True, False, False, False), 2),
        ((True, False), 0),
    ],
)
def test_unsteady_quads_are_dropped_unless_they_are_the_majority_before_enough_steady_ones_are_there(
    steady: tuple[bool, ...], counted: int
) -> None:
    tally = Tally(0.025, EFFORT)
    for is_steady in steady:
        tally.add(quad((2.0, 2.1), (1.0, 1.1)), is_steady)
    assert (len(tally), len(tally.gains)) == (len(steady), counted)


def test_nothing_is_concluded_before_the_first_few_quads_are_there() -> None:
    tally = Tally(0.025, EFFORT)
    tally.add(quad((2.0, 2.0), (1.0, 1.0)), True)
    assert len(tally.gains) == 0


def test_a_load_beside_the_headlines_is_compared_where_its_least_quads_fit_a_tenth_of_the_gate() -> None:
    found = effort_beside(block_s=1.0, wall_s=900, left_s=800)
    assert found is not None
    assert (found.least, found.seconds) == (BESIDE.least, 90)
    assert effort_beside(block_s=10.0, wall_s=900, left_s=800) is None
    assert effort_beside(block_s=1.0, wall_s=900, left_s=40) is None
    assert effort_beside(block_s=20.0, wall_s=7200, left_s=7000) == BESIDE
