from __future__ import annotations

from round_lab import starter, worked

from vibeserve_loop.planning.bandit import choose
from vibeserve_loop.records import Round, Task

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


def test_a_single_agent_needs_no_choice() -> None:
    assert choose([starter()], ("only",)) == "only"
    assert choose([starter()], ()) == ""
