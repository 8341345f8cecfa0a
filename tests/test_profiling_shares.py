"""Shares of the wall, launches, gaps, operators and occupancy from recordings that are known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pytest_vibeserve.ceiling import Cost
from pytest_vibeserve.machine_rates import Machine
from pytest_vibeserve.profiling import shares
from pytest_vibeserve.profiling.spans import Recording, Span
from pytest_vibeserve.profiling.stacks import Stacks
from pytest_vibeserve.profiling.threads import Looks

STEPS = (Span(0, 2, "prefill", 30), Span(3, 5, "decode", 4), Span(6, 8, "decode", 12))
OPERATORS = tuple(Span(at, at + 0.5, "aten::addmm", shapes=((4, 100), (200, 100))) for at in (0, 1, 3, 6))
RECORDING = Recording((0, 10), STEPS, OPERATORS)
LOOKS = Looks([(at / 10, 0 if at >= 80 else 1) for at in range(100)])
RATES = Machine(1e6, 1e6)


def test_shares_of_the_wall_add_up_to_one() -> None:
    found = shares.wall(RECORDING, LOOKS)
    assert (found.prefill, found.decode, found.host, found.idle) == pytest.approx((0.2, 0.4, 0.2, 0.2), abs=0.02)
    assert found.model == pytest.approx(0.6)


def test_without_steps_only_work_and_idleness_are_told_apart() -> None:
    found = shares.wall(replace(RECORDING, steps=()), LOOKS)
    assert (found.prefill, found.decode) == (None, None)
    assert (found.host, found.idle) == pytest.approx((0.8, 0.2))


def test_what_passes_between_operators_is_launching() -> None:
    assert shares.launch_bound(RECORDING) == pytest.approx(1 - 2 / 6)
    assert shares.launch_bound(replace(RECORDING, operators=())) is None


def test_kernels_count_before_operators() -> None:
    kernels = (Span(0, 2, "gemm"), Span(3, 5, "gemm"))
    assert shares.launch_bound(replace(RECORDING, kernels=kernels)) == pytest.approx(1 / 3)
    assert [one.name for one in shares.operators(replace(RECORDING, kernels=kernels), None)] == ["gemm"]


def test_gaps_between_steps_have_their_causes() -> None:
    looks = Looks([(2.2, 1), (2.5, 1), (2.8, 1), (5.5, 0)])
    stacks = Stacks(leaves=Counter({"choose (sampling.py)": 9}))
    found = shares.gaps(RECORDING, looks, stacks)
    assert [(gap.share, gap.longest_ms) for gap in found] == [(0.15, 1000), (0.05, 1000)]
    assert "choose (sampling.py)" in found[0].cause


def test_an_operator_has_its_share_and_its_distance_to_the_roofline() -> None:
    (found,) = shares.operators(RECORDING, RATES)
    best_s = 2 * 4 * 100 * 200 / 1e6
    assert (found.name, found.share, found.calls_per_s) == ("addmm", 0.2, 0.4)
    assert found.roofline == pytest.approx(best_s / 0.5, abs=0.01)


def test_an_operator_of_unknown_operands_has_no_distance() -> None:
    (found,) = shares.operators(replace(RECORDING, operators=(Span(0, 1, "aten::add"),)), RATES)
    assert found.roofline is None


def test_steps_are_held_against_the_best_that_the_machine_can_do() -> None:
    work = Cost(weight_bytes=500_000, operations_per_token=10_000)
    least = 0.5 + 0.5 + 0.5
    assert shares.roofline(RECORDING, work, RATES) == pytest.approx(least / 2)
    assert shares.roofline(RECORDING, None, RATES) is None


def test_occupancy_goes_by_the_rows_of_decoding_steps() -> None:
    assert shares.occupancy(RECORDING, ()) == (0, 0, 4, 0, 12, 0, 0, 0)
    assert shares.rows(RECORDING) == 8
