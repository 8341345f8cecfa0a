from __future__ import annotations

from pathlib import Path

from pytest_vibeserve.report import Comparison
from vibeserve_loop.planning.plans import plans
from vibeserve_loop.records import AgentResult, Assessment, Decision, Issue, Round, Task
from vibeserve_loop.skills import Technique

HERE = Path()
ISSUES = (Issue(name="steps", weight=0.9), Issue(name="queue", weight=0.6), Issue(name="idle", weight=0.2))


def _technique(name: str, relieves: str = "", requires: str = "", variant: str = "") -> Technique:
    return Technique(name, variant, HERE, HERE, tuple(requires.split()), tuple(relieves.split()))


def _starter() -> Round:
    return Round(round=0, task=Task(kind="starter"), decision=Decision(ruling="accept", reason=""), started=0, wall_s=1)


def _work(number: int, names: str, gain: float = 1.0, *, base: int = 0, skipped: str = "") -> Round:
    conclusion = "better" if gain > 1 else "no difference shown"
    compared = Comparison(
        baseline="b", baseline_tree="t", metric="m", load="l", gain=gain, low=gain, high=gain, pairs=4,
        conclusion=conclusion, baseline_value=1, candidate_value=gain, unit="u",
    )  # fmt: skip
    ruling = "accept" if gain > 1 else "reject"
    return Round(
        round=number, task=Task(kind="work", base=base),
        work=AgentResult(summary="", techniques=tuple(names.split()), skipped=tuple(skipped.split())),
        assessment=Assessment(outcome="accepted", reason="", comparison=compared),
        decision=Decision(ruling=ruling, reason=""), started=0, wall_s=1,
    )  # fmt: skip


def _names(known: list[Technique], rounds: list[Round], *, base: int = 0, seed: int = 1) -> list[str]:
    task = Task(kind="work", base=base, issues=ISSUES)
    return ["+".join(plan.names) for plan in plans(known, task, rounds, seed)]


def test_the_technique_that_relieves_most_comes_first() -> None:
    known = [_technique("a", "idle"), _technique("b", "steps"), _technique("c", "queue")]
    assert _names(known, [_starter()]) == ["b", "c", "a"]


def test_what_is_in_the_code_or_did_not_apply_here_is_left_out() -> None:
    known = [_technique(name, "steps") for name in "abcd"]
    rounds = [_starter(), _work(1, "a", 2.0), _work(2, "b", base=1, skipped="c")]
    assert _names(known, rounds, base=1) == ["d"]


def test_prerequisites_come_first_and_in_order() -> None:
    known = [_technique("house", "steps", "walls"), _technique("walls", "", "ground"), _technique("ground")]
    assert _names(known, [_starter()])[0] == "ground+walls+house"


def test_a_technique_whose_prerequisite_is_unknown_or_circular_is_left_out() -> None:
    known = [_technique("a", "steps", "nowhere"), _technique("b", "steps", "c"), _technique("c", "steps", "b")]
    assert _names(known, [_starter()]) == []


def test_for_a_weak_issue_the_prerequisite_goes_alone_until_it_proved_neutral() -> None:
    known = [_technique("ground"), _technique("house", "idle", "ground")]
    assert _names(known, [_starter()]) == ["ground"]
    assert _names(known, [_starter(), _work(1, "ground")]) == ["ground+house"]


def test_what_unlocks_others_gets_credit_for_it() -> None:
    known = [_technique("plain"), _technique("key"), _technique("door", "idle", "key")]
    assert _names(known, [_starter()])[0] == "key"


def test_a_refused_technique_gets_one_more_chance_after_a_large_gain() -> None:
    known = [_technique("a", "steps"), _technique("b", "idle"), _technique("c", "idle")]
    refused = [_starter(), _work(1, "a")]
    assert "a" not in _names(known, refused)
    assert "a" not in _names(known, [*refused, _work(2, "b", 1.1)], base=2)
    large = [*refused, _work(2, "b", 1.5)]
    assert "a" in _names(known, large, base=2)
    assert "a" not in _names(known, [*large, _work(3, "a", base=2), _work(4, "c", 2.0, base=2)], base=4)


def test_a_sibling_of_a_judged_variant_waits_behind_what_is_new() -> None:
    known = [_technique("a", "steps", variant="x"), _technique("a", "steps", variant="y"), _technique("b", "queue")]
    assert _names(known, [_starter()]) == ["a:x", "a:y", "b"]
    assert _names(known, [_starter(), _work(1, "a:x")]) == ["b", "a:y"]


def test_ties_fall_by_the_seed_alone() -> None:
    known = [_technique(name, "steps") for name in "abcdef"]
    orders = {tuple(_names(known, [_starter()], seed=seed)) for seed in range(8)}
    assert len(orders) > 1
    assert _names(known, [_starter()], seed=3) == _names(list(reversed(known)), [_starter()], seed=3)
