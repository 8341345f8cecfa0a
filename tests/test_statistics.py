"""Intervals cover what they claim, and conclusions are drawn from whole intervals only."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.statistics import (
    ALPHA,
    MINIMUM_EFFECT,
    PATTERNS,
    GainSequence,
    Interval,
    Quad,
    alpha_share,
    conclusion,
    mean_interval,
    orders,
    quad,
    rate_interval,
    relation,
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


def test_repeats_that_all_served_nothing_are_nothing_for_sure() -> None:
    assert rate_interval([0.0, 0.0, 0.0]) == Interval(0.0, 0.0, 0.0)


def test_one_repeat_that_served_nothing_has_no_interval() -> None:
    assert rate_interval([0.0]) == Interval(0.0, 0.0, math.inf)


def test_a_repeat_that_served_nothing_beside_others_gives_a_wide_interval_with_an_end() -> None:
    found = rate_interval([0.0, 10.0, 11.0])
    assert (found.value, found.low) == (7.0, 0.0)
    assert 11 < found.high < 30


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


def quads(gain: float, noise: float, draws: random.Random, count: int) -> list[Quad]:
    """Quads of a candidate that is `gain` times as fast, with independent noise in every block."""

    def block(level: float) -> float:
        return level * math.exp(draws.gauss(0, noise))

    return [quad((block(gain), block(gain)), (block(1), block(1))) for _ in range(count)]


def looked_at(found: list[Quad], alpha: float = ALPHA) -> list[Interval]:
    """The interval after each quad."""
    gains, looks = GainSequence(alpha), []
    for one in found:
        gains.add(one)
        looks.append(gains.gain)
    return looks


def test_a_quad_is_the_log_ratio_of_the_arms_and_the_contrasts_of_equal_blocks() -> None:
    found = quad((2.0, 8.0), (1.0, 1.0))
    assert found.effect == pytest.approx(math.log(4))
    assert found.noise == pytest.approx((math.log(1 / 4) / math.sqrt(2), 0.0))


@given(st.lists(st.tuples(positive, positive, positive, positive), min_size=2, max_size=6), st.floats(1e-3, 1e3))
def test_a_gains_interval_does_not_depend_on_the_unit(blocks: list[tuple[float, ...]], factor: float) -> None:
    plain = looked_at([quad((a, b), (c, d)) for a, b, c, d in blocks])[-1]
    scaled = looked_at([quad((a * factor, b * factor), (c * factor, d * factor)) for a, b, c, d in blocks])[-1]
    assert scaled.value == pytest.approx(plain.value, rel=1e-6)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_however_often_it_is_looked_at_an_interval_hardly_ever_misses_the_true_gain(noise: float) -> None:
    draws, truth, experiments, alpha = random.Random(7), 1.03, 1500, 0.05
    above = below = 0
    for _ in range(experiments):
        looks = looked_at(quads(truth, noise, draws, 12), alpha)
        above += any(look.low > truth for look in looks)
        below += any(look.high < truth for look in looks)
    tolerance = 3 * math.sqrt(alpha * experiments)
    assert above <= alpha * experiments + tolerance
    assert below <= alpha * experiments + tolerance


def test_looking_at_a_plain_interval_again_and_again_would_claim_too_much() -> None:
    draws, experiments = random.Random(8), 400
    wrong = 0
    for _ in range(experiments):
        effects = [found.effect for found in quads(1.0, 0.03, draws, 20)]
        wrong += any(mean_interval(effects[:seen]).low > 0 for seen in range(2, 21))
    assert wrong > 2 * ALPHA * experiments


def test_a_drift_of_the_machine_leaves_the_effect_alone_and_widens_the_interval() -> None:
    steady = [quad((1.1, 1.1), (1.0, 1.0))] * 3
    rising = [quad((1.1 * math.exp(0.03), 1.1), (math.exp(0.01), math.exp(0.02)))] * 3
    assert rising[0].effect == pytest.approx(steady[0].effect)
    assert looked_at(rising)[-1].low < looked_at(steady)[-1].low


def test_a_large_gain_is_shown_within_three_quads_and_an_equal_candidate_is_given_up() -> None:
    draws = random.Random(9)
    gains = GainSequence()
    for found in quads(1.2, 0.02, draws, 3):
        gains.add(found)
    assert gains.conclusion() == "better"
    assert not gains.is_futile(10)
    equal = GainSequence()
    for found in quads(1.0, 0.05, draws, 4):
        equal.add(found)
    assert equal.conclusion() == "no difference shown"
    assert equal.is_futile(8)


def test_the_noise_is_that_of_one_block() -> None:
    gains = GainSequence()
    for found in quads(1.5, 0.03, random.Random(10), 200):
        gains.add(found)
    assert gains.noise == pytest.approx(0.03, rel=0.1)


def test_without_a_quad_nothing_is_said() -> None:
    assert GainSequence().gain == Interval(1.0, 0.0, math.inf)
    assert not GainSequence().is_futile(5)


BETTER, WORSE = Interval(1.2, 1.1, 1.3), Interval(0.8, 0.7, 0.9)
SAME, OPEN = Interval(1.0, 0.995, 1.005), Interval(1.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((BETTER, SAME), "dominates"),
        ((BETTER, BETTER), "dominates"),
        ((BETTER, OPEN), "not shown"),
        ((BETTER, WORSE), "incomparable"),
        ((WORSE, SAME), "dominated"),
        ((WORSE, OPEN), "not shown"),
        ((SAME, SAME), "not shown"),
        ((), "not shown"),
    ],
)
def test_one_dominates_when_it_is_better_on_one_objective_and_on_none_can_be_worse(
    gains: tuple[Interval, ...], said: str
) -> None:
    assert relation(gains) == said


def test_the_shares_of_a_search_of_any_length_stay_within_the_whole() -> None:
    shares = [alpha_share(number, 0.05) for number in range(1, 10_000)]
    assert sum(shares) == pytest.approx(0.05, rel=0.01)
    assert sum(shares) < 0.05
    assert sum(shares[:20]) == pytest.approx(0.025)
    assert shares == sorted(shares, reverse=True)


def null_rounds(period: float, orders_of: Callable[[random.Random], Iterator[str]], rounds: int) -> int:
    """How often equal arms are told apart on a machine that swings by 3 %, at the alpha of a round of forty."""
    draws, wrong = random.Random(11), 0
    for _ in range(rounds):
        gains, order, phase = GainSequence(0.001), orders_of(draws), draws.uniform(0, 2 * math.pi)
        for number in range(8):
            arms: dict[str, list[float]] = {"A": [], "B": []}
            for place, arm in enumerate(next(order), start=4 * number):
                swing = 0.03 * math.sin(2 * math.pi * place / period + phase)
                arms[arm].append(math.exp(swing + draws.gauss(0, 0.003)))
            gains.add(quad((arms["A"][0], arms["A"][1]), (arms["B"][0], arms["B"][1])))
            if number and gains.conclusion() != "no difference shown":
                wrong += gains.conclusion() == "better"
                break
    return wrong


def tossed(draws: random.Random) -> Iterator[str]:
    """Each quad's order by the toss of a coin."""
    while True:
        yield draws.choice(PATTERNS)


@pytest.mark.parametrize("period", [8 / 3, 4, 4.2, 8])
def test_a_machine_that_swings_in_step_with_the_blocks_makes_no_gain(period: float) -> None:
    assert null_rounds(period, orders, 400) == 0


def test_orders_that_are_tossed_alone_would_be_fooled_by_such_a_machine_more_often_than_alpha_says() -> None:
    assert null_rounds(4, tossed, 400) > 2


def test_of_each_three_quads_none_are_all_alike_and_none_change_twice() -> None:
    drawn = orders(random.Random(12))
    threes = {tuple(next(drawn) for _ in range(3)) for _ in range(100)}
    assert len(threes) == 4
    assert all(first != third for first, _, third in threes)
