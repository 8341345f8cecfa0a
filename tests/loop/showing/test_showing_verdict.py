from __future__ import annotations

import pytest
from round_lab import a_round, assessed, refused, starter, worked

from pytest_vibeserve.errors import ExitCode
from vibeserve_loop.records import AgentResult, Order, Round, Task
from vibeserve_loop.showing.verdict import verdict_of


def _failed(number: int) -> Round:
    broken = AgentResult(summary="", failed=f"died in round {number}")
    return a_round(number, Task(kind="work"), ruling="void", work=broken)


def _final(number: int, base: int, *, ruling: str = "accept") -> Round:
    return a_round(number, Task(kind="final", base=base), assessed(2.0), ruling=ruling)


def _stop(number: int) -> Round:
    return a_round(number, Task(kind="order", orders=(Order(verb="stop"),)), ruling="accept")


def test_a_stopped_run_says_what_stands_and_that_it_is_not_confirmed() -> None:
    code, words = verdict_of([starter(), worked(1, 1.5), worked(2, 2.0, base=1), _stop(3)])
    assert code == ExitCode.ACCEPTED
    assert words == (
        "The run was stopped; round 2 stands at x3.00 [2.92, 3.09] over the starter by its gate, not confirmed."
    )


@pytest.mark.parametrize("early", ["was interrupted", "ended early (the machine is on fire)"])
def test_a_run_that_ended_early_says_how(early: str) -> None:
    assert verdict_of([starter(), worked(1, 1.5)], early)[1].startswith(f"The run {early}; round 1 stands at x1.50")
    words = verdict_of([starter(), worked(1, 0.9)], early)[1]
    assert words.startswith("Nothing better than the starter was found")
    assert words.endswith(f"The run {early}.")


def test_a_winner_is_told_beside_what_came_after_it() -> None:
    rounds = [starter(), worked(1, 2.0), _final(2, 1), worked(3, 1.5, base=1), _stop(4)]
    _, words = verdict_of(rounds)
    assert "The winner is round 1: x2.00" in words
    assert "round 3 stands at x3.00" in words


def test_an_agent_that_kept_failing_is_told_whatever_came_of_the_run() -> None:
    failed = [_failed(number) for number in (2, 3, 4)]
    code, words = verdict_of([starter(), worked(1, 2.0), *failed, _final(5, 1)])
    assert code == ExitCode.ACCEPTED
    assert words.endswith("The agent failed 3 times in a row, the last time in round 4: died in round 4")
    assert verdict_of([starter(), *(_failed(n) for n in (1, 2, 3))])[0] == ExitCode.NOTHING
    assert verdict_of([starter(), a_round(1, Task(kind="work"), refused()), *failed])[0] == ExitCode.ACCEPTED
    assert "failed" not in verdict_of([starter(), worked(1, 0.9), *failed[:2]])[1]


def test_a_champion_that_the_final_gate_refused_is_no_winner() -> None:
    code, words = verdict_of([starter(), worked(1, 2.0), _final(2, 1, ruling="reject")])
    assert (code, "the starter stands" in words) == (ExitCode.INCONCLUSIVE, True)
