"""The walk of a run: propose, edit, commit, assess, decide, record."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop import decision, lineage, orders
from vibeserve_loop.novelty import without_gate
from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Sketch, Step, Task
from vibeserve_loop.roles import Policy
from vibeserve_loop.schedule import next_task, promotion_fits
from vibeserve_loop.workshop import NO_CODE, Workshop
from vibeserve_loop.workspace import Commit

VOIDS_ALLOWED = 3
PAUSE_S = 0.2
UNDECIDED = Decision(ruling="void", reason="not judged")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to, before it is recorded."""

    decision: Decision
    commit: Commit = NO_CODE
    work: AgentResult | None = None
    assessment: Assessment | None = None
    sketch: Sketch | None = None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """One run, ready to go on from whatever its history holds."""

    shop: Workshop
    policy: Policy

    def events(self) -> Iterator[Step | Round]:
        """Run to the end, round by round; what is yielded is only to be shown."""
        self.shop.prepare()
        while (standing := (yield from self._orders())) != "stop":
            if standing == "pause":
                time.sleep(PAUSE_S)
                continue
            task = next_task(self._rounds, self.shop.settings, self.policy)
            if task is None:
                break
            yield from self._round(task)
            self._give_up_on_void()
        self.shop.workspace.settle()

    @property
    def _rounds(self) -> tuple[Round, ...]:
        return self.shop.history.rounds

    def _orders(self) -> Generator[Step | Round, None, str]:
        """Take in what was asked since, as a round of its own; what was asked last of pause, stop and resume."""
        rounds = self._rounds
        asked = self.shop.folder.orders.after(len(orders.taken(rounds))) if lineage.starter(rounds) else ()
        if asked:
            task = Task(kind="order", hypothesis="what a person asked for", orders=asked)
            told = Decision(ruling="accept", reason="; ".join(orders.told(order) for order in asked))
            yield self._recorded(task, Outcome(told), time.time(), 0.0)
        return orders.standing(self._rounds)

    def _round(self, task: Task) -> Iterator[Step | Round]:
        started, began, number = time.time(), time.monotonic(), len(self._rounds)
        self.shop.folder.round(number).mkdir(parents=True, exist_ok=True)
        yield Step(round=number, phase="propose", text=task.hypothesis)
        if task.kind == "plan":
            outcome = yield from self._planned(number, task)
        elif task.kind == "work":
            outcome = yield from self._worked(number, task)
        else:
            given = Outcome(UNDECIDED, self.shop.given(task), sketch=self.shop.likeness(task))
            outcome = yield from self._judged(number, task, given)
        yield self._recorded(task, outcome, started, time.monotonic() - began)

    def _planned(self, number: int, task: Task) -> Generator[Step, None, Outcome]:
        """An answer that cannot be read or followed voids the round."""
        yield Step(round=number, phase="edit", text="planner")
        work, answer, why = self.shop.plan(number, task)
        if work.failed or answer is None:
            return Outcome(Decision(ruling="void", reason=work.failed or why), work=work)
        told = answer.proposal.hypothesis if answer.proposal else answer.stop
        return Outcome(Decision(ruling="accept", reason=told), work=work, answer=answer)

    def _worked(self, number: int, task: Task) -> Generator[Step, None, Outcome]:
        """What failed, changed nothing or was tried before needs no gate."""
        yield Step(round=number, phase="edit", text=f"agent {task.agent or self.shop.settings.agent}")
        made, commit = self.shop.edit(number, task)
        known = without_gate(made, self._rounds, self.shop.settings.knobs.novelty)
        outcome = Outcome(known or UNDECIDED, commit, made.work, sketch=made.sketch)
        if known is None:
            outcome = yield from self._judged(number, task, outcome)
        return outcome

    def _judged(self, number: int, task: Task, made: Outcome) -> Generator[Step, None, Outcome]:
        """The gate looks, the policy decides on its own work; what is to be kept must stand the full gate as well."""
        yield Step(round=number, phase="assess", text=made.work.summary if made.work else task.hypothesis)
        judged = self._ruled(number, task, made, "full" if task.kind == "final" else "quick")
        limits = orders.in_force(self.shop.settings, self._rounds)
        if task.kind == "work" and judged.decision.ruling == "accept" and promotion_fits(self._rounds, limits):
            yield Step(round=number, phase="assess", text=f"the full gate, for {judged.decision.reason}")
            judged = self._ruled(number, task, made, "full")
        return judged

    def _ruled(self, number: int, task: Task, made: Outcome, depth: Literal["quick", "full"]) -> Outcome:
        found = self.shop.assess(number, task, made.commit, depth)
        ruling = self.policy.decide(task, found) if task.kind == "work" else decision.of_fixed_task(task, found)
        return replace(made, decision=ruling, assessment=found)

    def _recorded(self, task: Task, outcome: Outcome, started: float, wall_s: float) -> Round:
        """Write the round, which is the commit point, then bring the branch to where the record says it is."""
        record = Round(
            round=len(self._rounds), task=task, commit=outcome.commit.sha, tree=outcome.commit.tree,
            work=outcome.work, assessment=outcome.assessment, answer=outcome.answer, sketch=outcome.sketch,
            decision=outcome.decision, started=started, wall_s=wall_s,
        )  # fmt: skip
        self.shop.history.append(record)
        self.shop.follow(record)
        return record

    def _give_up_on_void(self) -> None:
        rounds = self._rounds
        allowed = VOIDS_ALLOWED if lineage.starter(rounds) else 1
        if lineage.voids_in_a_row(rounds) >= allowed:
            log = self.shop.folder.round(len(rounds) - 1) / "gate.log"
            raise InfrastructureError(f"{rounds[-1].decision.reason} (round {len(rounds) - 1}, see {log})")
