"""How sure a round must be, and that a whole run is no surer of its gains than it says."""

from __future__ import annotations

import pytest

from pytest_vibeserve.report import Comparison
from vibeserve_loop.decision import FINALS_ALPHA, SEARCH_ALPHA, alpha_for, by_interval
from vibeserve_loop.records import Assessment, Decision, Kind, Round, Task

WORK, FINAL = Task(kind="work"), Task(kind="final")


def a_round(number: int, alpha: float, kind: Kind = "work", ruling: str = "reject") -> Round:
    """A round whose comparison took `alpha`."""
    compared = Comparison(
        baseline="b", baseline_tree="t", metric="m", load="c16", gain=1, low=0.9, high=1.1, pairs=4,
        conclusion="no difference shown", baseline_value=1, candidate_value=1, unit="tok/s", confidence=1 - 2 * alpha,
    )  # fmt: skip
    return Round(
        round=number, task=Task(kind=kind), assessment=Assessment(outcome="accepted", reason="", comparison=compared),
        decision=Decision(ruling=ruling, reason=""), started=0, wall_s=1,
    )  # fmt: skip


def spent(count: int, limits: list[int | None], ruling: str = "reject") -> list[float]:
    """What each of so many rounds takes, under the limit in force when it begins (the last one stays in force)."""
    rounds: list[Round] = []
    taken = []
    for number in range(count):
        alpha = alpha_for(WORK, rounds, limits[min(number, len(limits) - 1)])
        assert alpha is not None
        taken.append(alpha)
        rounds.append(a_round(number, alpha, ruling=ruling))
    return taken


def test_a_known_number_of_rounds_shares_equally() -> None:
    shares = spent(40, [40])
    assert max(shares) == pytest.approx(min(shares))
    assert sum(shares) < SEARCH_ALPHA
    assert sum(shares) > 0.9 * SEARCH_ALPHA


@pytest.mark.parametrize("limits", [[None], [10] * 10 + [30], [None] * 5 + [20], [3] * 3 + [None]])
def test_whatever_the_budget_becomes_a_run_never_takes_more_than_its_whole(limits: list[int | None]) -> None:
    shares = spent(60, limits)
    assert all(share > 0 for share in shares)
    assert sum(shares) <= SEARCH_ALPHA * 1.01


def test_a_gate_that_could_not_judge_takes_nothing() -> None:
    before = [a_round(0, 0.001, ruling="void")]
    assert alpha_for(WORK, before, 10) == alpha_for(WORK, [], 10)


def test_a_second_final_gate_may_take_half_of_what_the_first_took() -> None:
    first = alpha_for(FINAL, [], 10)
    second = alpha_for(FINAL, [a_round(0, 0.001, "final")], 10)
    assert first is not None
    assert second == pytest.approx(first / 2)
    assert first < FINALS_ALPHA


@pytest.mark.parametrize("kind", ["starter", "baseline"])
def test_what_decides_nothing_takes_nothing(kind: Kind) -> None:
    assert alpha_for(Task(kind=kind), [], 10) is None


def test_only_what_is_better_beyond_the_noise_is_kept() -> None:
    found = a_round(0, 0.001).assessment
    assert found is not None
    assert found.comparison is not None
    assert by_interval(found).ruling == "reject"
    better = found.comparison.model_copy(update={"conclusion": "better"})
    assert by_interval(found.model_copy(update={"comparison": better})).ruling == "accept"
    assert by_interval(found.model_copy(update={"comparison": None})).ruling == "void"


def test_a_comparison_of_dropped_pairs_alone_says_nothing() -> None:
    found = a_round(0, 0.001).assessment
    assert found is not None
    assert found.comparison is not None
    none_kept = found.comparison.model_copy(update={"pairs": 0, "dropped": 32})
    assert by_interval(found.model_copy(update={"comparison": none_kept})).ruling == "void"
