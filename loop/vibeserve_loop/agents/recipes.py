"""The agent that needs no model: it applies the skills' recipes, the most promising first, and the gate decides."""

from __future__ import annotations

import sys

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.planning.plans import Plan, left_over
from vibeserve_loop.records import AgentResult, Spend
from vibeserve_loop.roles import Brief, Desk, Job
from vibeserve_loop.skills import Technique, techniques_for

NOT_APPLICABLE = 3
KILLED = 137
RECIPE_TIMEOUT_S = 300.0


class RecipesAgent:
    """Applies one technique a round, with its prerequisites where `plans` allows; one that does not apply is free."""

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """Apply the best plan that applies; exhausted when none does."""
        known = techniques_for(brief.target)
        skipped: list[str] = []
        seconds = 0.0
        for plan in left_over(known, brief.task, brief.rounds, brief.seed):
            if set(plan.names) & set(skipped):
                continue
            desk.log(f"plan {' + '.join(plan.names)}: promise {plan.score:.3f}")
            told, refused, spent = _apply(plan, desk)
            seconds += spent
            if not refused:
                return AgentResult(
                    summary="; ".join(told), techniques=plan.names, skipped=tuple(skipped), spend=Spend(seconds=seconds)
                )
            skipped.append(refused)
            desk.restore()
        reason = f"no technique is left on this base ({len(known)} known)"
        return AgentResult(summary=reason, skipped=tuple(skipped), exhausted=True, spend=Spend(seconds=seconds))


def _apply(plan: Plan, desk: Desk) -> tuple[list[str], str, float]:
    """What each recipe said, the name of the one that did not apply (or ""), and the seconds it all took."""
    told: list[str] = []
    seconds = 0.0
    for technique in plan.techniques:
        done = desk.sandbox.run(_job(technique, desk))
        seconds += done.wall_s
        said = (done.output if done.code == 0 else done.errors).strip()
        line = said.splitlines()[-1] if said else ""
        desk.log(f"{technique.name}: exit {done.code} in {done.wall_s:.1f} s: {line}")
        if done.code == KILLED and not done.timed_out:
            raise InfrastructureError(f"the recipe {technique.name} was killed by somebody else; resume runs it again")
        if done.code != 0:
            if done.code != NOT_APPLICABLE:
                desk.log(f"{technique.name} failed, which a recipe should not:\n{done.errors}")
            return told, technique.name, seconds
        told.append(f"{technique.name}: {line}")
    return told, "", seconds


def _job(technique: Technique, desk: Desk) -> Job:
    choice = ("--variant", technique.variant) if technique.variant else ()
    command = (sys.executable, "-I", "-B", str(technique.recipe), str(desk.folder), *choice)
    return Job(command, writable=desk.folder, readable=(technique.folder,), timeout_s=RECIPE_TIMEOUT_S)
