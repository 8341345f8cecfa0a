"""The brief of a planner: backlog, profile, plateau and budget, and the shape of the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pytest_vibeserve.target import Target
from vibeserve_loop.brief import common_words, filled, insight_of, profile, sections, told
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.accounts import left_of
from vibeserve_loop.ledger.orders import in_force, steering
from vibeserve_loop.planning.answer import PLAN_FILE
from vibeserve_loop.planning.backlog import board
from vibeserve_loop.proposals import Answer, Item
from vibeserve_loop.records import Round, Settings, Task
from vibeserve_loop.roles import Brief

PROFILE_FILE = "profile.md"


def write_plan_brief(number: int, task: Task, rounds: Sequence[Round], target: Target, settings: Settings) -> Brief:
    """The brief for one round's plan; the same rounds give the same words."""
    schema = json.dumps(Answer.model_json_schema(), separators=(",", ":"), sort_keys=True)
    shape = f"\n## The schema of `{PLAN_FILE}`\n{schema}\n"
    words = {**common_words(number, task, rounds, target), "more": _facts(rounds, settings) + shape}
    return Brief(number, task, tuple(rounds), target, settings.seed, filled("plan.md", words))


def _facts(rounds: Sequence[Round], settings: Settings) -> str:
    best = lineage.incumbent(rounds)
    bad = [rounds[-1].decision.reason] if rounds and rounds[-1].task.kind == "plan" else []
    kept = [rounds[number] for number in lineage.log_gains(rounds) if rounds[number].decision.ruling == "accept"]
    parts = [
        ("Why your last answer was not followed", bad),
        ("The backlog", [_issue(item) for item in board(rounds)]),
        (f"What the gate's hints say of the incumbent; the whole profile is in `{PROFILE_FILE}`", _hints(best)),
        ("Accepted rounds to go back to", [told(record) for record in kept]),
        ("Plateau", [f"{lineage.fruitless(rounds)} rounds without a gain; {settings.knobs.patience} end the search"]),
        ("What is left of the budget", [left_of(in_force(settings, rounds), rounds) or "no limit was set"]),
        ("What people asked for", list(steering(rounds))),
    ]
    return sections(parts)


def profile_of_incumbent(rounds: Sequence[Round]) -> str:
    """The text of the file that a planner reads when it wants to know more; the gate has measured it anyway."""
    best = lineage.incumbent(rounds)
    if best is None:
        return "nothing was measured yet\n"
    inside = insight_of(rounds, best)
    parts = [("Measured", profile(best)), ("Inside, by a profiled pass of its own", inside)]
    return f"# The profile of round {best.round}\n{sections(parts)}"


def _hints(best: Round | None) -> list[str]:
    found = best.assessment.hints if best and best.assessment else ()
    return [f"{hint.name} {hint.value:.2f}: {hint.text}" for hint in found]


def _issue(item: Item) -> str:
    reason = f"; {item.reason}" if item.reason else ""
    seen = f"; seen: {' | '.join(item.evidence)}" if item.evidence else ""
    return f"{item.id} [{item.state}, weight {item.weight:.2f}]: {item.title}{reason}{seen}"
