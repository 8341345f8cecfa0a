from __future__ import annotations

from pathlib import Path

from pytest_vibeserve.report import Comparison
from vibeserve_loop.policies.plain import PlainPolicy
from vibeserve_loop.records import Assessment, Budget, Decision, Kind, Round, Settings, Task
from vibeserve_loop.schedule import next_task, promotion_fits

SETTINGS = Settings(id="run", created=0, target="lab")


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


def _next(rounds: list[Round], **limits: float) -> tuple[str, int] | None:
    task = next_task(rounds, SETTINGS.model_copy(update=limits), PlainPolicy())
    return (task.kind, task.base) if task else None


def test_a_run_begins_with_the_starter() -> None:
    assert _next([]) == ("starter", 0)


def test_a_void_starter_is_tried_again_and_a_rejected_one_is_not() -> None:
    assert _next([_round(0, "starter", ruling="void")]) == ("starter", 0)
    assert _next([_round(0, "starter", ruling="reject")]) is None


def test_the_time_of_a_full_gate_is_kept_back() -> None:
    # Four and a half times the shortest round is kept for the full gate: 270 s here.
    rounds = [_round(0, "starter"), *(_round(number) for number in range(1, 7))]
    needed_s = 420 + 60 + 270
    assert _next(rounds, max_hours=(needed_s + 1) / 3600) == ("work", 6)
    assert _next(rounds, max_hours=(needed_s - 1) / 3600) == ("final", 6)


def test_no_more_than_half_of_a_short_budget_is_kept_back() -> None:
    rounds = [_round(0, "starter"), _round(1)]
    assert _next(rounds, max_hours=2 * (120 + 60 + 1) / 3600) == ("work", 1)
    assert _next(rounds, max_hours=2 * (120 + 60 - 1) / 3600) == ("final", 1)


def test_a_promotion_takes_the_full_gate_where_the_final_one_still_fits_behind_it() -> None:
    rounds = [_round(0, "starter")]
    needed_s = 60 + 60 + 2 * 270
    assert promotion_fits(rounds, Budget())
    assert promotion_fits(rounds, Budget(max_hours=(needed_s + 1) / 3600))
    assert not promotion_fits(rounds, Budget(max_hours=(needed_s - 1) / 3600))


def test_in_the_last_round_the_final_gate_is_the_only_full_one() -> None:
    assert promotion_fits([_round(0, "starter")], Budget(max_rounds=2))
    assert not promotion_fits([_round(0, "starter"), _round(1)], Budget(max_rounds=2))


def test_a_final_gate_that_failed_leads_to_the_candidate_before() -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, base=1)]
    assert _next([*rounds, _round(3, "final", 2)], max_rounds=2) is None
    assert _next([*rounds, _round(3, "final", 2, ruling="reject")], max_rounds=2) == ("final", 1)
    assert _next([*rounds, _round(3, "final", 2, ruling="void")], max_rounds=2) == ("final", 2)
    last = _round(4, "final", 1, ruling="reject")
    assert _next([*rounds, _round(3, "final", 2, ruling="reject"), last], max_rounds=2) is None


def test_after_a_final_gate_no_work_is_proposed() -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, "final", 1)]
    assert _next(rounds) is None


def test_a_void_round_does_not_count_towards_the_rounds() -> None:
    rounds = [_round(0, "starter"), _round(1), _round(2, base=1, ruling="void")]
    assert _next(rounds, max_rounds=2) == ("work", 1)


def test_a_baseline_is_judged_once() -> None:
    engine = str(Path("/engine"))
    rounds = [_round(0, "starter")]
    assert _next(rounds, baselines=(engine,)) == ("baseline", 0)
    judged = _round(1, "baseline")
    judged = judged.model_copy(update={"task": Task(kind="baseline", baseline=engine)})
    assert _next([*rounds, judged], baselines=(engine,)) == ("work", 0)
