"""The search for the highest level that keeps a bound."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import highest


@settings(deadline=None)
@given(edge=st.floats(1.0, 999.0), resolution=st.floats(0.01, 0.5))
def test_the_edge_lies_between_what_held_and_what_failed(edge: float, resolution: float) -> None:
    found = highest(lambda level: level, edge, (1.0, 1000.0), resolution)
    assert found.held <= edge < found.failed
    assert found.failed == inf or found.failed <= found.held * (1 + resolution)


def test_what_holds_everywhere_or_nowhere_is_said_so() -> None:
    assert (highest(lambda _: 0.0, 1.0, (2.0, 9.0), 0.1).held, highest(lambda _: 0.0, 1.0, (2.0, 9.0), 0.1).failed) == (
        9.0,
        inf,
    )
    nowhere = highest(lambda _: nan, 1.0, (2.0, 9.0), 0.1)
    assert (nowhere.held, nowhere.failed, len(nowhere.probes)) == (0.0, 2.0, 2)


def test_one_unlucky_probe_is_tried_again() -> None:
    tries: list[float] = []

    def unlucky(level: float) -> float:
        tries.append(level)
        return 100.0 if len(tries) == 1 else level

    assert highest(unlucky, 5.0, (4.0, 4.0), 0.1).held == 4.0
    assert tries == [4.0, 4.0]


@pytest.mark.parametrize(
    ("span", "resolution"), [((-1.0, 5.0), 0.1), ((5.0, 1.0), 0.1), ((1.0, inf), 0.1), ((1.0, 2.0), 0)]
)
def test_a_search_that_cannot_end_is_refused(span: tuple[float, float], resolution: float) -> None:
    with pytest.raises(UsageError, match="search"):
        highest(lambda level: level, 1.0, span, resolution)
