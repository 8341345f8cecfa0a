"""Gains upon gains: what a chain of comparisons says of the code at its end."""

from __future__ import annotations

import math

import pytest

from pytest_vibeserve.report import Comparison, Gain
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.lineage import product
from vibeserve_loop.records import Assessment, Decision, Round, Task

KEY = ("ttft_p50", "c1")


def a_comparison(gain: float, *others: Gain) -> Comparison:
    return Comparison(
        baseline="base", baseline_tree="t", metric="output_throughput", load="c16", gain=gain, low=gain * 0.9,
        high=gain * 1.2, pairs=6, conclusion="better", baseline_value=1, candidate_value=gain, unit="tok/s",
        objectives=others,
    )  # fmt: skip


def an_objective(gain: float) -> Gain:
    return Gain(metric=KEY[0], load=KEY[1], gain=gain, low=gain * 0.5, high=gain * 2, conclusion="no difference shown")


def a_round(number: int, kind: str, base: int, comparison: Comparison | None = None) -> Round:
    return Round(
        schema=1, round=number, task=Task(kind=kind, base=base), decision=Decision(ruling="accept", reason=""),
        assessment=Assessment(outcome="accepted", reason="", comparison=comparison), started=0, wall_s=1,
    )  # fmt: skip


RUN = (
    a_round(0, "starter", 0),
    a_round(1, "work", 0, a_comparison(2.0, an_objective(1.5))),
    a_round(2, "work", 1, a_comparison(1.5, an_objective(0.5))),
    a_round(3, "final", 2, a_comparison(2.9, an_objective(0.8))),
    a_round(4, "work", 2, a_comparison(1.1)),
)


def test_gains_multiply_and_their_doubts_add_up_in_logarithms() -> None:
    gain, low, high = lineage.gain_over_starter(RUN, RUN[2])
    assert gain == pytest.approx(3.0)
    assert math.log(gain / low) == pytest.approx(math.sqrt(2) * math.log(1 / 0.9))
    assert math.log(high / gain) == pytest.approx(math.sqrt(2) * math.log(1.2))


def test_a_final_gate_stands_for_itself() -> None:
    assert lineage.gain_over_starter(RUN, RUN[3])[0] == pytest.approx(2.9)


def test_any_objective_has_its_gain_where_every_comparison_on_the_way_looked_at_it() -> None:
    found = lineage.objective_gain(RUN, RUN[2], KEY)
    assert found is not None
    assert found[0] == pytest.approx(0.75)
    assert lineage.objective_gain(RUN, RUN[4], KEY) is None


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        ([], (1.0, 1.0, 1.0)),
        ([(2.0, 1.0, 3.0), (0.0, 0.0, 0.0)], (0.0, 0.0, 0.0)),
        ([(2.0, 2.0, 2.0), (1.0, 0.0, math.inf)], (2.0, 0.0, math.inf)),
        ([(0.0, 0.0, 5.0)], (0.0, 0.0, math.inf)),
        ([(math.inf, math.inf, math.inf)], (math.inf, math.inf, math.inf)),
        ([(1e300, 1e300, 1e300)] * 2, (math.inf, math.inf, math.inf)),
    ],
)
def test_a_product_is_told_even_where_nothing_was_served(
    gains: list[tuple[float, float, float]], found: tuple[float, float, float]
) -> None:
    assert product(gains) == found
