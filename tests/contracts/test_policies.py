from __future__ import annotations

import pytest

from pytest_vibeserve.report import Comparison, Hint, Measurement
from vibeserve_loop import resolve
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Task
from vibeserve_loop.roles import Policy

MOST_ROUNDS = 200


def _assessment(gain: float) -> Assessment:
    conclusion = "better" if gain > 1.02 else "worse" if gain < 0.98 else "no difference shown"
    value = Measurement(
        metric="output_throughput", load="c16", value=100 * gain, low=98 * gain, high=102 * gain, unit="tok/s",
        direction="max", headline=True,
    )  # fmt: skip
    compared = Comparison(
        baseline="b", baseline_tree="t", metric="output_throughput", load="c16", gain=gain, low=gain * 0.99,
        high=gain * 1.01, pairs=4, conclusion=conclusion, baseline_value=100, candidate_value=100 * gain, unit="tok/s",
    )  # fmt: skip
    hints = (Hint(name="step-overhead", value=5, text="slow"), Hint(name="queueing", value=2, text="waits"))
    return Assessment(
        outcome="accepted", reason="every check passed", measurements=(value,), comparison=compared, hints=hints
    )


def _starter() -> Round:
    decision = Decision(ruling="accept", reason="every check passed")
    return Round(
        round=0, task=Task(kind="starter"), commit="c0", tree="t0", assessment=_assessment(1), decision=decision,
        started=0, wall_s=1,
    )  # fmt: skip


def _names(number: int) -> dict[str, object]:
    return {"round": number, "commit": f"c{number}", "tree": f"t{number}"}


def _played(policy: Policy, gains: list[float]) -> list[Round]:
    """Rounds of a search in which the k-th proposal gains `gains[k]`, then none gains anything."""
    rounds = [_starter()]
    while task := policy.propose(tuple(rounds)):
        number = len(rounds)
        assert number < MOST_ROUNDS
        found = _assessment(gains[number - 1] if number <= len(gains) else 1.0)
        work = AgentResult(summary="did it", techniques=(f"technique-{number}",))
        kept = policy.decide(task, found)
        rounds.append(
            _starter().model_copy(
                update={**_names(number), "task": task, "work": work, "assessment": found, "decision": kept}
            )
        )
    return rounds


@pytest.fixture(params=resolve.names("policies"))
def policy(request: pytest.FixtureRequest) -> Policy:
    return resolve.policy(request.param)


def test_a_policy_ends_when_nothing_helps(policy: Policy) -> None:
    assert 1 < len(_played(policy, [])) < MOST_ROUNDS


def test_a_policy_keeps_what_is_better_and_only_that(policy: Policy) -> None:
    rounds = _played(policy, [1.5, 1.0, 0.7, 1.2])
    assert [r.decision.ruling for r in rounds[1:5]] == ["accept", "reject", "reject", "accept"]


def test_a_policy_works_on_from_code_that_the_gate_found_correct(policy: Policy) -> None:
    rounds = _played(policy, [1.5, 0.7, 1.2])
    correct = {r.round for r in rounds if r.assessment and r.assessment.outcome == "accepted"}
    assert all(r.task.base in correct and r.task.base < r.round for r in rounds[1:])


@pytest.mark.parametrize("name", ["plain", "agent"])
def test_a_policy_of_one_line_works_on_from_what_it_kept(name: str) -> None:
    rounds = _played(resolve.policy(name), [1.5, 0.7, 1.2])
    assert [r.task.base for r in rounds[1:5]] == [0, 1, 1, 3]


def test_a_policy_is_a_pure_function_of_the_rounds(policy: Policy) -> None:
    rounds = _played(policy, [1.5, 0.7])
    fresh = type(policy)()
    for number in range(1, len(rounds)):
        assert fresh.propose(rounds[:number]) == rounds[number].task


def test_a_policy_blames_nobody_for_a_void_gate(policy: Policy) -> None:
    found = Assessment(outcome="infrastructure", reason="the machine is on fire")
    assert policy.decide(Task(kind="work"), found).ruling == "void"


def test_a_policy_does_not_keep_what_was_rejected_or_left_open(policy: Policy) -> None:
    for outcome in ("rejected", "inconclusive"):
        found = _assessment(3.0).model_copy(update={"outcome": outcome})
        assert policy.decide(Task(kind="work"), found).ruling == "reject"
