"""Who comes when: drawn from a seed, complete, and carried out in waves whose answers lead to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from engine import Bound

from pytest_vibeserve.judge.crowd import MOVES, Crowd, schedule
from pytest_vibeserve.judge.relations import Prompts


def test_a_schedule_is_another_for_each_seed_and_the_same_for_one() -> None:
    assert schedule(1) == schedule(1)
    assert len({tuple(schedule(number)) for number in range(6)}) == 6
    assert {turn.relation for number in range(6) for turn in schedule(number)} >= {"", "cuts", "twins"}


def test_a_visit_leaves_no_relation_out_and_repeats_none_too_often(bound: Callable[[int], Bound]) -> None:
    crowds = []
    for number in range(2):
        engine = bound(number).engine
        crowd = Crowd(Prompts(engine, engine.draws("sessions")))
        crowd.visit({"twins": 3, "prediction": 0})
        crowds.append(Counter(one.ask.request.kind for one in crowd.heard))
    for heard in crowds:
        assert heard.keys() == MOVES.keys() - {"prediction"}
        assert heard["twins"] == 6
