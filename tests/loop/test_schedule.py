from __future__ import annotations

from pathlib import Path

import pytest
from loop_lab import Lab

from pytest_vibeserve.report import Comparison
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop.policies.plain import PlainPolicy
from vibeserve_loop.records import Assessment, Decision, Kind, Round, Settings, Task
from vibeserve_loop.schedule import next_task

SETTINGS = Settings(id="run", created=0, target="lab")


@pytest.fixture
def target(lab: Lab) -> Target:
    return load_target(str(lab.target))


def _round(number: int, kind: Kind = "work", base: int = 0, *, ruling: str = "accept", wall_s: float = 60) -> Round:
    compared = Comparison(
        baseline="b", baseline_tree="t", metric="m", load="c16", gain=2, low=1.9, high=2.1, pairs=4,
        conclusion="better", baseline_value=1, candidate_value=2, unit="tok/s",
    )  # fmt: skip
    return Round(
        round=number, task=Task(kind=kind, base=base), commit=f"c{number}", tree=f"t{number}",
        assessment=Assessment(outcome="accepted", reason="", comparison=compared),
        decision=Decision(ruling=ruling, reason=""), started=0, wall_s=wall_s,
    )  # fmt: skip


def _next(rounds: list[Round], target: Target, **limits: float) -> tuple[str, int] | None:
    task = next_task(rounds, SETTINGS.model_copy(update=limits), target, PlainPolicy())
    return (task.kind, task.base) if task else None


def test_a_run_begins_with_the_starter(target: Target) -> None:
    assert _next([], target) == ("starter", 0)


def test_a_void_starter_is_tried_again_and_a_rejected_one_is_not(target: Target) -> None:
    assert _next([_round(0, "starter", ruling="void")], target) == ("starter", 0)
    assert _next([_round(0, "starter", ruling="reject")], target) is None


def test_the_time_of_a_full_gate_is_kept_back(target: Target) -> None:
    # The lab's full gate takes 10 s of load against 3 s: 3.3 times the longest round, 200 s here.
    rounds = [_round(0, "starter"), _round(1)]
    needed_s = 120 + 60 + 200
    assert _next(rounds, target, max_hours=(needed_s + 1) / 3600) == ("work", 1)
    assert _next(rounds, target, max_hours=(needed_s - 1) / 3600) == ("final", 1)


def test_a_final_gate_that_failed_leads_to_the_candidate_before(target: Target) -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, base=1)]
    assert _next([*rounds, _round(3, "final", 2)], target, max_rounds=2) is None
    assert _next([*rounds, _round(3, "final", 2, ruling="reject")], target, max_rounds=2) == ("final", 1)
    assert _next([*rounds, _round(3, "final", 2, ruling="void")], target, max_rounds=2) == ("final", 2)
    last = _round(4, "final", 1, ruling="reject")
    assert _next([*rounds, _round(3, "final", 2, ruling="reject"), last], target, max_rounds=2) is None


def test_after_a_final_gate_no_work_is_proposed(target: Target) -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, "final", 1)]
    assert _next(rounds, target) is None


def test_a_void_round_does_not_count_towards_the_rounds(target: Target) -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, base=1, ruling="void")]
    assert _next(rounds, target, max_rounds=2) == ("work", 1)


def test_a_baseline_is_judged_once(target: Target) -> None:
    engine = str(Path("/engine"))
    rounds = [_round(0, "starter")]
    assert _next(rounds, target, baselines=(engine,)) == ("baseline", 0)
    judged = _round(1, "baseline")
    judged = judged.model_copy(update={"task": Task(kind="baseline", baseline=engine)})
    assert _next([*rounds, judged], target, baselines=(engine,)) == ("work", 0)
