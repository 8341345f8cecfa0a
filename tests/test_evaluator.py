"""A bound on an objective is held against the whole interval, not against a lucky value."""

from __future__ import annotations

import pytest
from test_report import a_measurement

from pytest_vibeserve.evaluator import bound_check
from pytest_vibeserve.target import Objective


@pytest.mark.parametrize(
    ("direction", "low", "high", "result"),
    [
        ("max", 101, 120, "pass"),
        ("max", 90, 99, "fail"),
        ("max", 90, 110, "inconclusive"),
        ("min", 90, 99, "pass"),
        ("min", 101, 120, "fail"),
        ("min", 90, 110, "inconclusive"),
        ("min", float("nan"), float("nan"), "inconclusive"),
    ],
)
def test_a_bound_is_kept_or_broken_by_the_whole_interval(direction: str, low: float, high: float, result: str) -> None:
    objective = Objective.model_validate(
        {"metric": "output_throughput", "load": "c16", "direction": direction, "unit": "tok/s", "bound": 100}
    )
    check = bound_check(objective, a_measurement(value=(low + high) / 2, low=low, high=high))
    assert (check.result, check.threshold) == (result, 100)
    assert check.name == "bound.output_throughput@c16"
