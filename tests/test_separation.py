"""Where blocks served nothing, what is said follows from who stands above whom, and is hardly ever said by chance."""

from __future__ import annotations

import math
import random

import pytest
from test_statistics import quads

from pytest_vibeserve.separation import bounds, is_enough, ratios
from pytest_vibeserve.statistics import ALPHA, GainSequence, Interval, Quad, quad

CLEAR = ratios((10.0, 20.0), (4.0, 5.0))


def test_the_ratios_of_two_arms_are_their_nearest_and_their_farthest_blocks() -> None:
    assert CLEAR == (2.0, 5.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ((0.0, 0.0), (1.0, 2.0), (0.0, 0.0)),
        ((1.0, 2.0), (0.0, 0.0), (math.inf, math.inf)),
        ((0.0, 0.0), (0.0, 0.0), (0.0, math.inf)),
        ((0.0, 3.0), (1.0, 2.0), (0.0, 3.0)),
        ((math.nan, 1.0), (1.0, 1.0), (0.0, math.inf)),
        ((math.inf, math.inf), (math.inf, math.inf), (0.0, math.inf)),
        ((math.inf, math.inf), (1.0, 1.0), (math.inf, math.inf)),
    ],
)
def test_what_nothing_over_nothing_leaves_open_stays_open(
    ours: tuple[float, float], theirs: tuple[float, float], found: tuple[float, float]
) -> None:
    assert ratios(ours, theirs) == found


def test_three_quads_are_enough_alone_and_five_in_a_round_of_forty() -> None:
    assert [count for count in range(6) if is_enough(count, 0.0125)] == [3, 4, 5]
    assert [count for count in range(6) if is_enough(count, 0.0005)] == [5]


def test_bounds_are_those_ratios_that_every_quad_clears() -> None:
    nothing = ratios((0.0, 0.0), (9.0, 9.0))
    assert bounds([CLEAR] * 2, 0.0125) == (0.0, math.inf)
    assert bounds([CLEAR] * 4, 0.0125) == (2.0, 5.0)
    assert bounds([CLEAR, CLEAR, ratios((3.0, 3.0), (1.0, 3.0))], 0.0125) == (1.0, 5.0)
    assert bounds([nothing] * 4, 0.0125) == (0.0, 0.0)
    assert bounds([ratios((9.0, 9.0), (0.0, 0.0))] * 4, 0.0125) == (math.inf, math.inf)
    assert bounds([nothing] * 4 + [CLEAR], 0.0125) == (0.0, 5.0)


@pytest.mark.parametrize("nothing", [0.1, 0.5, 0.9])
def test_equal_arms_that_serve_nothing_at_random_are_hardly_ever_told_apart(nothing: float) -> None:
    draws, alpha, rounds = random.Random(4), 0.05, 1500
    wrong = 0
    for _ in range(rounds):
        seen = []
        for _ in range(16):
            a, b, c, d = (draws.random() if draws.random() > nothing else 0.0 for _ in range(4))
            seen.append(ratios((a, b), (c, d)))
            if bounds(seen, alpha)[0] > 1:
                wrong += 1
                break
    assert wrong <= alpha * rounds


def after(found: list[Quad], alpha: float = ALPHA) -> GainSequence:
    """What is known after these quads."""
    gains = GainSequence(alpha)
    for one in found:
        gains.add(one)
    return gains


def test_a_block_that_served_nothing_among_others_leaves_open_whether_it_is_a_gain() -> None:
    gains = after([*quads(1.5, 0.01, random.Random(11), 2), quad((0.0, 1.5), (1.0, 1.0))])
    assert gains.gain.low == 0.0
    assert gains.conclusion() == "no difference shown"
    assert gains.noise == math.inf


def test_a_candidate_that_never_serves_anything_is_worse_and_one_that_does_beside_such_is_better() -> None:
    nothing, something = (0.0, 0.0), (100.0, 101.0)
    worse, better = after([quad(nothing, something)] * 6), after([quad(something, nothing)] * 6)
    assert (worse.conclusion(), worse.gain) == ("worse", Interval(0.0, 0.0, 0.0))
    assert (better.conclusion(), better.gain.low) == ("better", math.inf)
    assert after([quad(something, nothing)] * 2).conclusion() == "no difference shown"


def test_arms_that_both_serve_nothing_are_not_told_apart_and_given_up() -> None:
    gains = after([quad((0.0, 0.0), (0.0, 0.0))] * 13, 0.001)
    assert gains.gain == Interval(1.0, 0.0, math.inf)
    assert gains.is_futile(16)
    assert not after([quad((0.0, 0.0), (1.0, 1.0))] * 3, 0.001).is_futile(16)


def test_a_candidate_that_serves_nothing_now_and_then_is_never_better_for_its_other_blocks() -> None:
    draws = random.Random(12)
    found = [quad((draws.choice((0.0, 1.3)), 1.3), (1.0, 1.0)) for _ in range(16)]
    assert any(math.isnan(one.effect) for one in found[:4])
    assert after(found).conclusion() == "no difference shown"


def test_the_ratio_of_a_quad_without_logarithms_is_that_of_its_sums() -> None:
    assert quad((0.0, 3.0), (2.0, 4.0)).ratio == pytest.approx(0.5)
    assert quad((3.0, 3.0), (0.0, 0.0)).ratio == math.inf
    assert math.isnan(quad((0.0, 0.0), (0.0, 0.0)).ratio)
    assert quad((2.0, 8.0), (1.0, 1.0)).ratio == pytest.approx(4.0)
