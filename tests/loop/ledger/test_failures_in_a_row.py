"""Which rounds in a row a gate failed, and in which an agent did."""

from __future__ import annotations

from round_lab import a_round, assessed, starter, worked

from vibeserve_loop.ledger import lineage
from vibeserve_loop.records import AgentResult, Order, Round, Task

BROKEN = AgentResult(summary="", failed="died")


def _failed(number: int, kind: str = "work") -> Round:
    return a_round(number, Task(kind=kind), ruling="void", work=BROKEN)


def _void(number: int) -> Round:
    return a_round(number, Task(kind="work"), assessed(1.0), ruling="void")


def _order(number: int, verb: str) -> Round:
    return a_round(number, Task(kind="order", orders=(Order(verb=verb),)), ruling="accept")


def test_a_gates_voids_in_a_row_and_failed_sessions_are_counted_apart() -> None:
    rounds = [starter(), _void(1), _failed(2), _void(3), _failed(4)]
    assert lineage.voids_in_a_row(rounds) == 2
    assert len(lineage.failures(rounds)) == 1
    assert lineage.voids_in_a_row([*rounds, worked(5, 0.9)]) == 0


def test_failed_sessions_are_in_a_row_across_plans_finals_and_orders_but_not_across_a_resume() -> None:
    plan = a_round(2, Task(kind="plan"), ruling="accept")
    final = a_round(5, Task(kind="final"), assessed(2.0))
    rounds = [starter(), _failed(1), plan, _failed(3, "plan"), _order(4, "steer"), final]
    assert [r.round for r in lineage.failures(rounds)] == [3, 1]
    assert lineage.failures([*rounds, _order(6, "resume")]) == ()
    assert [r.round for r in lineage.failures([*rounds, _order(6, "resume"), _failed(7)])] == [7]


def test_a_round_under_way_does_not_end_the_row() -> None:
    pending = a_round(2, Task(kind="work"), ruling="pending", work=None)
    assert len(lineage.failures([starter(), _failed(1), pending])) == 1
