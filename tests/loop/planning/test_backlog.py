from __future__ import annotations

import pytest
from pydantic import ValidationError
from round_lab import a_round, refused, starter, worked

from vibeserve_loop.planning.backlog import bearing, board, misfit
from vibeserve_loop.proposals import Answer, Expectation, Item, Proposal, State
from vibeserve_loop.records import Order, Task

EXPECTS = Expectation(metric="output_throughput", load="c16", at_least=1.2)


def _proposal(issue: str = "kernels", *items: Item, base: int | None = None) -> Proposal:
    return Proposal(issue=issue, hypothesis="fewer kernels, x1.2", expects=EXPECTS, board=items, base=base)


def _task(proposal: Proposal, **more: object) -> Task:
    return Task(kind="work", proposal=proposal, **more)  # type: ignore[arg-type]


def test_the_backlog_is_what_was_proposed_with_what_the_rounds_showed() -> None:
    proposal = _proposal("kernels", Item(id="kernels", state="in_progress"), Item(id="queue"))
    rounds = [starter(), worked(1, 0.9, task=_task(proposal)), worked(2, 1.5, task=_task(_proposal()))]
    kernels, queue = board(rounds)
    assert (kernels.state, queue.state) == ("done", "open")
    assert kernels.evidence == (
        "round 1: work: reject x0.90 [0.88, 0.92], hypothesis refuted",
        "round 2: work: accept x1.50 [1.47, 1.53], hypothesis confirmed",
    )


def test_a_plan_files_its_issues_before_anybody_works_on_them() -> None:
    answer = Answer(proposal=_proposal("kernels", Item(id="kernels")))
    rounds = [starter(), a_round(1, Task(kind="plan"), ruling="accept", answer=answer)]
    assert [item.id for item in board(rounds)] == ["kernels"]


def test_what_a_person_files_is_there_at_once_and_for_good() -> None:
    order = Order(verb="issue", item=Item(id="mine", source="person"))
    assert board([starter()], [order])[0].id == "mine"
    taken = a_round(1, Task(kind="order", orders=(order,)), ruling="accept")
    assert board([starter(), taken])[0].source == "person"


@pytest.mark.parametrize("state", ["parked", "blocked", "abandoned"])
def test_an_issue_is_not_given_up_without_a_reason(state: State) -> None:
    with pytest.raises(ValidationError, match=f"say in `reason` why it is {state}"):
        Item(id="kernels", state=state, reason="slow")
    assert Item(id="kernels", state=state, reason="three attempts, and the step is memory-bound").state == state


@pytest.mark.parametrize(("gain", "says"), [(1.3, "confirmed"), (1.1, "refuted"), (1.2, "open")])
def test_the_interval_says_whether_a_hypothesis_held(gain: float, says: str) -> None:
    assert bearing(worked(1, gain), EXPECTS) == says


def test_work_that_broke_says_nothing_of_the_hypothesis() -> None:
    assert bearing(a_round(1, Task(kind="work"), refused()), EXPECTS) == "open"


def test_an_answer_that_cannot_be_followed_is_told_why() -> None:
    rounds = [starter(), worked(1, 0.9)]
    metrics = ["output_throughput"]
    known = Item(id="kernels")
    assert misfit(Answer(proposal=_proposal("kernels", known)), rounds, metrics) == ""
    assert "no issue 'kernels'" in misfit(Answer(proposal=_proposal()), rounds, metrics)
    assert "round 1 was not accepted" in misfit(Answer(proposal=_proposal("kernels", known, base=1)), rounds, metrics)
    done = Item(id="kernels", state="done")
    assert "kernels is done" in misfit(Answer(proposal=_proposal("kernels", done)), rounds, metrics)
    assert "nothing measures" in misfit(Answer(proposal=_proposal("kernels", known)), rounds, ["ttft_p50"])


def test_an_answer_is_a_proposal_or_a_reason_to_stop() -> None:
    assert Answer(stop="every hint is at its floor by now").proposal is None
    with pytest.raises(ValidationError, match="give either"):
        Answer(stop="done")
    with pytest.raises(ValidationError, match="give either"):
        Answer(proposal=_proposal(), stop="every hint is at its floor by now")
