from __future__ import annotations

from pathlib import Path

from loop_lab import Lab, faster
from planner_lab import PLANNER, PROPOSAL, answer
from round_lab import a_round, assessed, compared, refused, starter, worked

from vibeserve_loop.policies.agent import AgentPolicy
from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import AgentResult, Knobs, Round, Task
from vibeserve_loop.roles import Charter
from vibeserve_loop.skills import Technique

HERE = Path()
PLANNED = AgentPolicy(Charter(planned=True))


def _planned(number: int, **more: object) -> Round:
    answer = Answer(proposal=PROPOSAL.model_copy(update=more))
    return a_round(number, Task(kind="plan"), ruling="accept", answer=answer)


def _work(number: int, gain: float | None, **more: object) -> Round:
    task = Task(kind="work", proposal=PROPOSAL, **more)  # type: ignore[arg-type]
    return worked(number, gain, task=task) if gain else a_round(number, task, refused())


def _leaning(number: int, name: str, gain: float) -> Round:
    """A round of which the interval holds 1, though its middle lies above."""
    found = compared(gain).model_copy(update={"conclusion": "no difference shown", "low": 0.98})
    assessment = assessed(gain).model_copy(update={"comparison": found})
    return worked(number, 1.0, techniques=(name,), assessment=assessment)


def test_an_agent_that_plans_is_asked_before_every_piece_of_work() -> None:
    task = PLANNED.propose([starter()])
    assert task is not None
    assert task.kind == "plan"
    task = PLANNED.propose([starter(), _planned(1)])
    assert task is not None
    assert (task.kind, task.hypothesis, task.base) == ("work", "fewer kernels, x1.2", 0)
    task = PLANNED.propose([starter(), _planned(1), _work(2, 1.5)])
    assert task is not None
    assert (task.kind, task.base) == ("plan", 2)


def test_work_that_broke_is_mended_until_the_attempts_are_used_up() -> None:
    rounds = [starter(), _planned(1), _work(2, None)]
    second = PLANNED.propose(rounds)
    assert second is not None
    assert (second.kind, second.attempt, second.start, second.base) == ("work", 2, 2, 0)
    rounds += [a_round(3, second, refused())]
    third = PLANNED.propose(rounds)
    assert third is not None
    assert (third.attempt, third.start) == (3, 3)
    after = PLANNED.propose([*rounds, a_round(4, third, refused())])
    assert after is not None
    assert after.kind == "plan"


def test_without_a_planner_they_mend_who_can() -> None:
    known = (Technique("graphs", "", HERE, HERE, (), ("step-overhead",)),)
    for charter, mended in ((Charter(mends=True), True), (Charter(techniques=known), False)):
        policy = AgentPolicy(charter)
        first = policy.propose([starter()])
        assert first is not None
        second = policy.propose([starter(), a_round(1, first, refused())])
        assert (second is not None and second.start == 1 and second.attempt == 2) == mended
    policy = AgentPolicy(Charter(mends=True, knobs=Knobs(max_retries_per_round=1)))
    once = policy.propose([starter(), a_round(1, first, refused())])
    assert once is None or once.start is None


def test_who_has_nothing_more_to_try_is_not_asked_to_mend() -> None:
    policy = AgentPolicy(Charter(mends=True))
    first = policy.propose([starter()])
    assert first is not None
    nothing = a_round(1, first, ruling="void", work=AgentResult(summary="", exhausted=True))
    assert policy.propose([starter(), nothing]) is None


def test_a_refuted_hypothesis_is_not_tried_again() -> None:
    task = PLANNED.propose([starter(), _planned(1), _work(2, 1.0)])
    assert task is not None
    assert task.kind == "plan"


def test_one_answer_serves_until_something_gains() -> None:
    follow = PROPOSAL.model_copy(update={"hypothesis": "then the queue"})
    plan = _planned(1).model_copy(update={"answer": Answer(proposal=PROPOSAL, then=(follow,))})
    second = PLANNED.propose([starter(), plan, _work(2, 1.0)])
    assert second is not None
    assert (second.kind, second.hypothesis) == ("work", "then the queue")
    third = PLANNED.propose([starter(), plan, _work(2, 1.0), worked(3, 1.0, task=second)])
    assert third is not None
    assert third.kind == "plan"
    gained = PLANNED.propose([starter(), plan, _work(2, 1.5)])
    assert gained is not None
    assert gained.kind == "plan"


def test_a_planner_may_go_back_to_an_earlier_round() -> None:
    task = PLANNED.propose([starter(), worked(1, 1.5), _planned(2, base=0)])
    assert task is not None
    assert task.base == 0


def test_after_three_answers_that_cannot_be_read_the_search_ends() -> None:
    bad = [a_round(number, Task(kind="plan"), ruling="void") for number in (1, 2, 3)]
    task = PLANNED.propose([starter(), *bad[:2]])
    assert task is not None
    assert task.kind == "plan"
    assert PLANNED.propose([starter(), *bad]) is None


def test_it_ends_when_the_planner_says_so_or_nothing_gained_for_long() -> None:
    stop = a_round(1, Task(kind="plan"), ruling="accept", answer=Answer(stop="every hint is at its floor by now"))
    assert PLANNED.propose([starter(), stop]) is None
    policy = AgentPolicy(Charter(planned=True, knobs=Knobs(patience=2)))
    assert policy.propose([starter(), _work(1, 1.0), _work(2, 1.0)]) is None


def test_the_rule_names_the_technique_and_a_figure_to_miss() -> None:
    known = tuple(
        Technique(name, "", HERE, HERE, (), relieves)
        for name, relieves in (("graphs", ("step-overhead",)), ("batching", ("serial-service",)))
    )
    policy = AgentPolicy(Charter(techniques=known))
    task = policy.propose([starter()])
    assert task is not None
    assert task.proposal is not None
    assert task.techniques == ("graphs",)
    assert task.hypothesis == "graphs relieves step-overhead: output_throughput improves to x1.09 or more"
    assert {item.id: item.state for item in task.proposal.board} == {
        "step-overhead": "in_progress", "serial-service": "open", "idle-cores": "open",
    }  # fmt: skip
    rounds = [starter(), worked(1, 1.0, task=task, techniques=("graphs",))]
    after = policy.propose(rounds)
    assert after is not None
    assert after.proposal is not None
    assert after.techniques == ("batching",)
    changed = {item.id: item for item in after.proposal.board}
    assert changed["step-overhead"].state == "parked"
    assert "round 1: graphs: reject x1.00" in changed["step-overhead"].reason


def test_what_leans_the_right_way_is_tried_together() -> None:
    known = tuple(Technique(name, "", HERE, HERE, (), ("step-overhead",)) for name in ("a", "b", "c", "d"))
    policy = AgentPolicy(Charter(techniques=known))
    rounds = [starter(), worked(1, 1.02, techniques=("a",)), worked(2, 0.99, techniques=("b",))]
    alone = policy.propose(rounds)
    assert alone is not None
    assert len(alone.techniques) == 1
    leaning = [_leaning(n, name, 1.06) for n, name in enumerate("acd", start=1)]
    bundle = policy.propose([starter(), *leaning])
    assert bundle is not None
    assert bundle.techniques == ("a", "c", "d")


def test_a_run_by_the_rule_keeps_its_backlog_in_the_record(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.skill("slower", faster(0.5), relieves="step-overhead")
    done = lab.run("--policy", "agent")
    assert done.returncode == 0, done.stderr
    first = lab.rounds()[1]["task"]["proposal"]
    assert first["issue"] == "step-overhead"
    assert first["expects"]["at_least"] == 1.09
    assert lab.rounds()[-1]["assessment"]["comparison"]["gain"] == 3


def _scripted(lab: Lab, *script: object) -> tuple[str, ...]:
    import json

    (lab.folder / "planning.py").write_text(PLANNER)
    (lab.folder / "script.json").write_text(json.dumps(script))
    return "--policy", "agent", "--agent", "planning:PlanningAgent"


def test_a_planner_that_is_asked_answers_in_a_file_that_is_checked(lab: Lab) -> None:
    words = _scripted(lab, "no json", answer("it breaks first", "150"), answer("then more", "300"))
    done = lab.run(*words)
    assert done.returncode == 0, done.stderr
    told = [(r["task"]["kind"], r["decision"]["ruling"]) for r in lab.rounds()]
    assert told == [
        ("starter", "accept"), ("plan", "void"), ("plan", "accept"), ("work", "reject"), ("work", "accept"),
        ("plan", "accept"), ("work", "accept"), ("plan", "accept"), ("final", "accept"),
    ]  # fmt: skip
    briefs = {path.parent.name: path.read_text() for path in lab.latest.glob("rounds/*/brief.md")}
    assert "plan.json: the whole: Invalid JSON" in briefs["0002"]
    assert "Attempt 2: mend the code of round 3" in briefs["0004"]
    assert "3 of 24 answers differ" in briefs["0004"]
    assert "kernels [done" in briefs["0005"]
    assert "hypothesis confirmed" in briefs["0005"]
    assert "7 sessions of agents for 2 gains (3.5 each)" in done.stdout
    assert "| planner | 4 | 0.0 | 2.00 | 400 |" in done.stdout


def test_a_planner_is_told_the_hints_and_reads_the_profile_if_it_wants(lab: Lab) -> None:
    words = _scripted(lab, answer("first", "150"))
    source = (lab.folder / "planning.py").read_text()
    told = 'desk.log((desk.folder / "profile.md").read_text() if brief.task.kind == "plan" else "")'
    (lab.folder / "planning.py").write_text(source.replace('desk.log("round', told + '\n        desk.log("round'))
    done = lab.run(*words, "--max-rounds", "1")
    assert done.returncode == 0, done.stderr
    brief = (lab.latest / "rounds" / "0001" / "brief.md").read_text()
    assert "step-overhead 10.00: step-overhead is high" in brief
    assert "output_throughput at c16: 100.00" not in brief
    log = (lab.latest / "rounds" / "0001" / "agent.log").read_text()
    assert "# The profile of round 0" in log
    assert "output_throughput at c16: 100.00 [98.00, 102.00] tok/s" in log
    assert not (lab.latest / "workspace" / "profile.md").exists()


def test_money_and_tokens_end_a_run_cleanly(lab: Lab) -> None:
    words = _scripted(lab, answer("more", "150"), answer("more yet", "300"))
    done = lab.run(*words, "--max-usd", "2")
    assert done.returncode == 0, done.stderr
    assert [r["task"]["kind"] for r in lab.rounds()] == ["starter", "plan", "work", "final"]
    again = lab.call("resume", "--max-usd", "100", "--max-tokens", "1100")
    assert again.returncode == 0, again.stderr
    assert [r["task"]["kind"] for r in lab.rounds()][4:] == ["order"]
    assert lab.call("resume", "--max-tokens", "5000").returncode == 0
    kinds = [r["task"]["kind"] for r in lab.rounds()][5:]
    assert kinds == ["order", "plan", "work", "plan", "final"]
