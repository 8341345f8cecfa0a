from __future__ import annotations

import json

import pytest
from loop_lab import Lab, faster
from round_lab import a_round, starter, worked

from pytest_vibeserve.target import Objective
from vibeserve_loop.policies.evolve import EvolvePolicy
from vibeserve_loop.records import AgentResult, Knobs, Task
from vibeserve_loop.roles import Charter

SPEED = Objective(metric="output_throughput", load="c16", direction="max", unit="tok/s")


def _policy(seed: int = 0, agents: tuple[str, ...] = ("",), **knobs: object) -> EvolvePolicy:
    chosen = Knobs(**knobs)  # type: ignore[arg-type]
    return EvolvePolicy(Charter(knobs=chosen, objectives=(SPEED,), seed=seed, agents=agents))


def test_children_come_of_several_parents_and_are_shown_others() -> None:
    rounds = [starter(), worked(1, 1.3), worked(2, 1.0), worked(3, 1.2)]
    tasks = [_policy(seed, temperature=10.0).propose(rounds) for seed in range(20)]
    assert {task.base for task in tasks if task} == {0, 1, 2, 3}
    assert all(task and task.base not in task.inspirations and len(task.inspirations) == 3 for task in tasks)


def test_the_same_seed_and_rounds_give_the_same_child() -> None:
    rounds = [starter(), worked(1, 1.3), worked(2, 1.0)]
    assert _policy(5).propose(rounds) == _policy(5).propose(rounds)


def test_a_parent_that_the_agent_has_exhausted_bears_no_more() -> None:
    empty = a_round(2, Task(kind="work", base=1), ruling="void", work=AgentResult(summary="", exhausted=True))
    rounds = [starter(), worked(1, 3.0), empty]
    bases = {task.base for seed in range(10) if (task := _policy(seed).propose(rounds))}
    assert bases == {0}


def test_islands_take_turns() -> None:
    policy = _policy(islands=3)
    rounds = [starter()]
    islands = []
    for number in range(1, 7):
        task = policy.propose(rounds)
        assert task is not None
        islands.append(task.island)
        rounds.append(worked(number, 1.1, task=task))
    assert islands == [0, 1, 2, 0, 1, 2]


def test_it_ends_when_nothing_gains_for_long() -> None:
    rounds = [starter(), *(worked(n, 1.0) for n in range(1, 4))]
    assert _policy(patience=4).propose(rounds) is not None
    assert _policy(patience=3).propose(rounds) is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--policy", "evolve", "--objective", "throughput:max"), "did you mean output_throughput"),
        (("--policy", "evolve", "--objective", "output_throughput:min"), "write output_throughput:max"),
        (("--policy", "plain", "--objective", "output_throughput:max"), "--objective is for --policy evolve"),
    ],
)
def test_an_objective_that_would_count_for_nothing_is_refused(words: tuple[str, ...], told: str, lab: Lab) -> None:
    done = lab.run(*words)
    assert done.returncode == 4
    assert told in done.stderr
    assert not (lab.folder / "runs").exists()


def test_several_agents_share_the_work(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.skill(name, faster(1.5), relieves="serial-service")
    (lab.folder / "other.py").write_text(
        "from vibeserve_loop.agents.recipes import RecipesAgent\nclass OtherAgent(RecipesAgent):\n    pass\n"
    )
    done = lab.run("--policy", "evolve", "--agent", "recipes", "--agent", "other:OtherAgent", "--max-rounds", "3")
    assert done.returncode == 0, done.stderr
    agents = [r["task"]["agent"] for r in lab.rounds() if r["task"]["kind"] == "work"]
    assert agents[:2] == ["recipes", "other:OtherAgent"]


def test_code_that_differs_in_comments_alone_costs_no_gate(lab: Lab) -> None:
    lab.skill("real", faster(1.5), relieves="step-overhead")
    note = 'server = folder / "server.py"\nserver.write_text(server.read_text() + "# a note\\n")\nprint("noted")'
    lab.skill("talk", note, relieves="step-overhead serial-service")
    assert lab.run("--policy", "evolve", "--max-rounds", "4").returncode == 0
    told = [r for r in lab.rounds() if r["work"] and r["work"]["techniques"] == ["talk"]]
    assert told
    assert all(r["assessment"] is None and r["decision"]["ruling"] == "reject" for r in told)
    assert "the same source as in round 0" in json.dumps(told)
