from __future__ import annotations

from round_lab import a_round, assessed, starter, worked

from vibeserve_loop.policies.plain import PlainPolicy
from vibeserve_loop.records import AgentResult, Knobs, Round, Task
from vibeserve_loop.roles import Charter


def _drained(rounds: list[Round], **knobs: int) -> list[str]:
    """The issues that are worked on until the queue is empty, when nothing gains."""
    policy = PlainPolicy(Charter(knobs=Knobs(**knobs)))
    names = []
    while task := policy.propose(rounds):
        names.append(task.issues[0].name)
        rounds = [*rounds, worked(len(rounds), 1.0, task=task)]
    return names


def test_each_issue_has_its_attempts_before_it_is_blocked() -> None:
    names = _drained([starter()], max_attempts_per_issue=2)
    assert sorted(names) == ["idle-cores"] * 2 + ["serial-service"] * 2 + ["step-overhead"] * 2
    assert names[0] == "step-overhead"


def test_one_evaluation_files_no_more_than_it_may_and_the_next_ones_come_later() -> None:
    names = _drained([starter()], max_attempts_per_issue=1, max_issues_per_eval=1)
    assert names == ["step-overhead", "serial-service", "idle-cores"]


def test_code_that_was_kept_is_evaluated_and_its_issues_take_the_place_of_the_old() -> None:
    kept = worked(1, 1.5, assessment=assessed(1.5, hints={"queueing": 3.0}))
    task = PlainPolicy().propose([starter(), kept])
    assert task is not None
    assert (task.base, [issue.name for issue in task.issues]) == (1, ["queueing"])


def test_without_a_complaint_the_agent_may_try_anything_a_few_times() -> None:
    satisfied = starter().model_copy(update={"assessment": assessed(1.0, hints={})})
    assert _drained([satisfied]) == ["any part"] * 3


def test_a_gates_void_is_no_attempt_and_an_exhausted_agent_ends_the_search() -> None:
    policy = PlainPolicy(Charter(knobs=Knobs(max_attempts_per_issue=1, max_issues_per_eval=1)))
    task = policy.propose([starter()])
    assert task is not None
    void = worked(1, 1.0, task=task, ruling="void")
    again = policy.propose([starter(), void])
    assert again is not None
    assert again.issues[0].name == "step-overhead"
    empty = a_round(1, Task(kind="work"), ruling="void", work=AgentResult(summary="", exhausted=True))
    assert policy.propose([starter(), empty]) is None
