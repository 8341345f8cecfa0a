from __future__ import annotations

from round_lab import starter, worked

from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.records import AgentResult, Round, Task
from vibeserve_loop.turn import known_to

ARMS = ("dear", "cheap")


def _rounds(*facts: tuple[str, float, float]) -> list[Round]:
    made = [
        worked(number, gain, task=Task(kind="work", agent=agent), usd=usd)
        for number, (agent, gain, usd) in enumerate(facts, start=1)
    ]
    return [starter(), *made]


def test_each_agent_has_a_first_round() -> None:
    assert choose([starter()], ARMS) == "dear"
    assert choose(_rounds(("dear", 1.0, 1.0)), ARMS) == "cheap"


def test_of_two_that_give_the_same_the_cheaper_comes_next() -> None:
    assert choose(_rounds(("dear", 1.5, 1.0), ("cheap", 1.5, 0.1)), ARMS) == "cheap"


def test_who_gives_nothing_gives_way_though_cheap() -> None:
    facts = [("dear", 2.0, 1.0), ("cheap", 1.0, 0.5), ("dear", 2.0, 1.0), ("cheap", 1.0, 0.5)]
    assert choose(_rounds(*facts), ARMS) == "dear"


def test_who_was_long_unheard_is_heard_again() -> None:
    facts = [("cheap", 1.0, 1.0), *[("dear", 1.05, 1.0)] * 40]
    assert choose(_rounds(*facts), ARMS) == "cheap"


def test_rounds_under_way_count_so_that_side_by_side_nobody_is_left_out() -> None:
    given = []
    for _ in range(4):
        given.append(Task(kind="work", agent=choose(known_to([starter()], given), ARMS)))
    assert [task.agent for task in given] == ["dear", "cheap", "dear", "cheap"]
    rounds = _rounds(("dear", 1.5, 1.0), ("cheap", 1.5, 1.0))
    under_way = [Task(kind="work", agent="dear")] * 3
    assert choose(known_to(rounds, under_way), ARMS) == "cheap"


def test_an_agent_whose_sessions_keep_failing_is_passed_over() -> None:
    rounds = _rounds(("cheap", 1.0, 0.0), ("cheap", 1.0, 0.0), ("cheap", 1.0, 0.0), ("dear", 1.0, 9.0))
    broken = AgentResult(summary="", failed="died: no key")
    failed = [r.model_copy(update={"work": broken}) if r.task.agent == "cheap" else r for r in rounds]
    assert choose(rounds, ARMS) == "cheap"
    assert choose(failed, ARMS) == "dear"


def test_a_single_agent_needs_no_choice() -> None:
    assert choose([starter()], ("only",)) == "only"
    assert choose([starter()], ()) == ""
