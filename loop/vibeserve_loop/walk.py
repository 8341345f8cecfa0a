"""The walk of one round: from what it was given to what it came to, and the line that records it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop import decision
from vibeserve_loop.ledger import lineage, orders
from vibeserve_loop.options import masked_text
from vibeserve_loop.planning.novelty import without_gate
from vibeserve_loop.records import Decision, Round, Step
from vibeserve_loop.roles import Policy
from vibeserve_loop.schedule import promotion_fits
from vibeserve_loop.turn import Outcome, Turn
from vibeserve_loop.workshop import Workshop

VOIDS_ALLOWED = 3
UNDECIDED = Decision(ruling="void", reason="not judged")


@dataclass(frozen=True, slots=True)
class Walk:
    """Works rounds in a workshop under a policy; only `record` changes what the run remembers."""

    shop: Workshop
    policy: Policy

    def outcome(self, turn: Turn) -> Generator[Step, None, Outcome]:
        """Work one round to its end; the steps on the way are only to be shown."""
        self.shop.folder.round(turn.number).mkdir(parents=True, exist_ok=True)
        yield Step(round=turn.number, phase="propose", text=turn.task.hypothesis)
        if turn.task.kind == "plan":
            return (yield from self._planned(turn))
        if turn.task.kind == "work":
            return (yield from self._worked(turn))
        given = Outcome(UNDECIDED, self.shop.given(turn.task), sketch=self.shop.likeness(turn.task))
        return (yield from self._judged(turn, given))

    def record(self, found: Round) -> Round:
        """Write the round, which is the commit point, then bring the branch to where the record says it is."""
        self.shop.history.append(found)
        self.shop.follow(found)
        return found

    def give_up_on_void(self) -> None:
        """InfrastructureError once nothing could be judged for several rounds in a row."""
        rounds = self.shop.history.rounds
        allowed = VOIDS_ALLOWED if lineage.starter(rounds) else 1
        if lineage.voids_in_a_row(rounds) >= allowed:
            last = next(r for r in reversed(rounds) if r.assessment)
            log = self.shop.folder.round(last.round) / "gate.log"
            raise InfrastructureError(f"{last.decision.reason} (round {last.round}, see {log})")

    def _planned(self, turn: Turn) -> Generator[Step, None, Outcome]:
        """An answer that cannot be read or followed voids the round."""
        yield Step(round=turn.number, phase="edit", text="planner")
        work, answer, why = self.shop.plan(turn)
        if work.failed or answer is None:
            return Outcome(Decision(ruling="void", reason=work.failed or why), work=work)
        told = answer.proposal.hypothesis if answer.proposal else answer.stop
        return Outcome(Decision(ruling="accept", reason=told), work=work, answer=answer)

    def _worked(self, turn: Turn) -> Generator[Step, None, Outcome]:
        """What failed, changed nothing or was tried before needs no gate."""
        agent = turn.task.agent or self.shop.settings.agent
        yield Step(round=turn.number, phase="edit", text=f"agent {masked_text('agent', agent)}")
        made, commit = self.shop.edit(turn)
        known = without_gate(made, turn.rounds, self.shop.settings.knobs.novelty)
        outcome = Outcome(known or UNDECIDED, commit, made.work, sketch=made.sketch)
        if known is None:
            outcome = yield from self._judged(turn, outcome)
        return outcome

    def _judged(self, turn: Turn, made: Outcome) -> Generator[Step, None, Outcome]:
        """The gate looks, the policy decides on its own work; what is to be kept must stand the full gate as well."""
        task, rounds = turn.task, turn.rounds
        yield Step(round=turn.number, phase="assess", text=made.work.summary if made.work else task.hypothesis)
        judged = self._ruled(turn, made, "full" if task.kind == "final" else "quick")
        limits = orders.in_force(self.shop.settings, rounds)
        if task.kind == "work" and judged.decision.ruling == "accept" and promotion_fits(rounds, limits):
            yield Step(round=turn.number, phase="assess", text=f"the full gate, for {judged.decision.reason}")
            judged = self._ruled(turn, made, "full")
        return judged

    def _ruled(self, turn: Turn, made: Outcome, depth: Literal["quick", "full"]) -> Outcome:
        task, found = turn.task, self.shop.assess(turn, made.commit, depth)
        ruling = self.policy.decide(task, found) if task.kind == "work" else decision.of_fixed_task(task, found)
        return replace(made, decision=ruling, assessment=found)


def round_of(turn: Turn, outcome: Outcome, started: float, wall_s: float) -> Round:
    """The record of a round that has come to its end."""
    return Round(
        round=turn.number, task=turn.task, commit=outcome.commit.sha, tree=outcome.commit.tree, work=outcome.work,
        assessment=outcome.assessment, answer=outcome.answer, sketch=outcome.sketch, decision=outcome.decision,
        started=started, wall_s=wall_s,
    )  # fmt: skip
