"""The walk of a run: propose, edit, commit, assess, decide, record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.target import Target
from vibeserve_loop import decision, lineage
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.brief import write_brief
from vibeserve_loop.history import History
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Settings, Step, Task
from vibeserve_loop.roles import Agent, Desk, Policy, Sandbox
from vibeserve_loop.runs import RunFolder
from vibeserve_loop.schedule import next_task
from vibeserve_loop.workspace import Commit, Workspace

VOIDS_ALLOWED = 3


@dataclass(frozen=True, slots=True)
class Search:
    """One run, ready to go on from whatever its history holds."""

    settings: Settings
    folder: RunFolder
    target: Target
    history: History
    workspace: Workspace
    gate: Gate
    policy: Policy
    agent: Agent
    sandbox: Sandbox

    def events(self) -> Iterator[Step | Round]:
        """Run to the end, round by round; what is yielded is only to be shown."""
        self._prepare()
        while task := next_task(self.history.rounds, self.settings, self.policy):
            yield from self._round(task)
            self._give_up_on_void()

    def _round(self, task: Task) -> Iterator[Step | Round]:
        rounds, started, began = self.history.rounds, time.time(), time.monotonic()
        number, work, found = len(rounds), None, None
        self.folder.round(number).mkdir(parents=True, exist_ok=True)
        yield Step(round=number, phase="propose", text=task.hypothesis)
        commit = self._given(task)
        if task.kind == "work":
            yield Step(round=number, phase="edit", text=f"agent {self.settings.agent}")
            work, commit = self._edit(number, task)
        ruling = self._known(task, work, commit)
        if ruling is None:
            yield Step(round=number, phase="assess", text=work.summary if work else task.hypothesis)
            found = self._assess(number, task, commit)
            ruling = self.policy.decide(task, found) if task.kind == "work" else decision.of_fixed_task(task, found)
        record = Round(
            round=number, task=task, commit=commit.sha, tree=commit.tree, work=work, assessment=found,
            decision=ruling, started=started, wall_s=time.monotonic() - began,
        )  # fmt: skip
        self.history.append(record)
        self._follow(record)
        yield record

    def _given(self, task: Task) -> Commit:
        """The code of a round that nobody edits."""
        if task.kind == "starter":
            return self.workspace.commit_of("refs/heads/main")
        if task.kind == "final":
            champion = self.history.rounds[task.base]
            return Commit(champion.commit, champion.tree)
        return Commit("", "")

    def _edit(self, number: int, task: Task) -> tuple[AgentResult, Commit]:
        base, place = self.history.rounds[task.base], self.folder.round(number)
        brief = write_brief(number, task, self.history.rounds, self.target, self.settings.seed)
        write_atomically(place / "brief.md", brief.text)
        self.workspace.checkout(base.commit)
        with (place / "agent.log").open("w", encoding="utf-8", buffering=1) as stream:
            desk = Desk(
                self.workspace.folder, self.sandbox, restore=lambda: self.workspace.checkout(base.commit),
                log=lambda line: print(line, file=stream),
            )  # fmt: skip
            work = self.agent.work(brief, desk)
        commit = self.workspace.commit(f"round {number}: {work.summary}", base.commit, self.settings.created + number)
        self.workspace.keep(number, commit.sha)
        self.workspace.checkout(base.commit)
        return work, commit

    def _known(self, task: Task, work: AgentResult | None, commit: Commit) -> Decision | None:
        """The decision where no gate is needed: nothing was changed, or the same code was refused before."""
        if work is None:
            return None
        if commit.tree == self.history.rounds[task.base].tree:
            return Decision(ruling="void", reason=f"nothing was changed: {work.summary}")
        twins = [r for r in lineage.judged_work(self.history.rounds) if r.tree == commit.tree]
        if twins:
            return Decision(ruling="reject", reason=f"the same code as in round {twins[-1].round}")
        return None

    def _assess(self, number: int, task: Task, commit: Commit) -> Assessment:
        candidate = Path(task.baseline) if task.kind == "baseline" else self._code(number, commit.sha)
        rival = None if task.kind == "starter" else self._code_of(task.base if task.kind == "work" else 0)
        place = self.folder.round(number)
        found = self.gate.assess(Case(candidate, rival, "full" if task.kind == "final" else "quick", place))
        first = lineage.starter(self.history.rounds)
        digest = first.assessment.target_digest if first and first.assessment else found.target_digest
        if found.target_digest and found.target_digest != digest:
            where = self.target.folder
            raise UsageError(f"the target changed since this run began: put {where} back, or start a new run")
        return found

    def _code(self, number: int, sha: str) -> Path:
        return self.workspace.export(sha, self.folder.round(number) / "candidate")

    def _code_of(self, number: int) -> Path:
        rounds = self.history.rounds
        owner = lineage.starter(rounds) if number == 0 else rounds[number]
        assert owner is not None
        return self._code(owner.round, owner.commit)

    def _follow(self, record: Round) -> None:
        """Bring the branch, which only mirrors the record, to where the record says it is."""
        if record.decision.ruling == "accept" and record.task.kind == "work":
            self._move(record.commit)
        elif record.decision.ruling == "accept" and record.task.kind == "final":
            self.workspace.crown(record.commit)

    def _move(self, sha: str) -> None:
        """Move branch and files; what a kill leaves half-moved is told from a user's changes by the mark."""
        mark = self.folder.moving
        mark.touch()
        self.workspace.move(sha)
        mark.unlink()

    def _prepare(self) -> None:
        best = lineage.incumbent(self.history.rounds)
        if best is None:
            self.workspace.begin(self.target.folder / "starter", self.settings.created)
            return
        unfinished = self.folder.round(len(self.history.rounds)) / "brief.md"
        changes = "" if self.folder.moving.exists() or unfinished.is_file() else self.workspace.changes()
        if changes:
            where = self.workspace.folder
            raise UsageError(
                f"{where} has changes that belong to no round ({changes.splitlines()[0].strip()}); copy what you need "
                f"and undo them with `git -C {where} stash --include-untracked`"
            )
        self._move(best.commit)

    def _give_up_on_void(self) -> None:
        rounds = self.history.rounds
        allowed = VOIDS_ALLOWED if lineage.starter(rounds) else 1
        if lineage.voids_in_a_row(rounds) >= allowed:
            log = self.folder.round(len(rounds) - 1) / "gate.log"
            raise InfrastructureError(f"{rounds[-1].decision.reason} (round {len(rounds) - 1}, see {log})")
