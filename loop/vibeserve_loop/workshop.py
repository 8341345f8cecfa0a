"""Where the rounds of a run are worked: the repository, the agents at their desk, and the gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Target
from vibeserve_loop import decision, lineage
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.brief import write_brief
from vibeserve_loop.history import History
from vibeserve_loop.novelty import EXACT, Made, sketch
from vibeserve_loop.orders import in_force
from vibeserve_loop.plan_answer import read_answer
from vibeserve_loop.plan_brief import write_plan_brief
from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import AgentResult, Assessment, Round, Settings, Sketch, Task
from vibeserve_loop.roles import Agent, Crew, Desk, Sandbox
from vibeserve_loop.runs import RunFolder
from vibeserve_loop.workspace import Commit, Workspace

NO_CODE = Commit("", "")


@dataclass(frozen=True, slots=True)
class Workshop:
    """All that a run works with; what is done here changes files, and only the engine changes the record."""

    settings: Settings
    folder: RunFolder
    target: Target
    history: History
    workspace: Workspace
    gate: Gate
    crew: Crew
    sandbox: Sandbox

    def prepare(self) -> None:
        """Bring the repository to where the record says it is; UsageError rather than sweep a user's changes away."""
        self.workspace.unlock()
        best = lineage.incumbent(self.history.rounds)
        if best is None:
            self.workspace.begin(self.target.starter_folder, self.settings.created)
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

    def given(self, task: Task) -> Commit:
        """The code of a round that nobody edits."""
        if task.kind == "starter":
            return self.workspace.commit_of("refs/heads/main")
        if task.kind == "final":
            champion = self.history.rounds[task.base]
            return Commit(champion.commit, champion.tree)
        return NO_CODE

    def likeness(self, task: Task) -> Sketch | None:
        """The sketch of the starter, which lies in the workspace when its round comes; None for any other round."""
        return self._sketch() if task.kind == "starter" else None

    def edit(self, number: int, task: Task) -> tuple[Made, Commit]:
        """One agent's session, and the commit of what it left."""
        base, origin = self.history.rounds[task.base], self._origin(task).commit
        work = self._session(number, task, self.crew.editor(task.agent))
        commit = self.workspace.commit(f"round {number}: {work.summary}", origin, self.settings.created + number)
        likeness = self._sketch()
        self.workspace.keep(number, commit.sha)
        self.workspace.checkout(base.commit)
        return Made(work, commit.tree, self._origin(task).tree, likeness), commit

    def plan(self, number: int, task: Task) -> tuple[AgentResult, Answer | None, str]:
        """Ask the planner; its answer, or None and why there is none that can be followed."""
        assert self.crew.planner is not None
        work = self._session(number, task, self.crew.planner)
        answer, why = read_answer(self.workspace.folder, self.history.rounds, self.target)
        self.workspace.checkout(self._origin(task).commit)
        return work, answer, why

    def assess(self, number: int, task: Task, commit: Commit, depth: Literal["quick", "full"]) -> Assessment:
        """Ask the gate about a round's code; UsageError when the target is not the one that the run began with."""
        candidate = Path(task.baseline) if task.kind == "baseline" else self._code(number, commit.sha)
        rival = None if task.kind == "starter" else self._code_of(task.base if task.kind == "work" else 0)
        place = self.folder.round(number)
        alpha = decision.alpha_for(task, self.history.rounds, in_force(self.settings, self.history.rounds).max_rounds)
        found = self.gate.assess(Case(candidate, rival, depth, place, alpha))
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

    def follow(self, record: Round) -> None:
        """Bring the branch, which only mirrors the record, to where the record says it is."""
        if record.decision.ruling != "accept" or record.task.kind not in ("work", "final"):
            return
        if record.task.kind == "final":
            self.workspace.crown(record.commit)
        elif lineage.incumbent(self.history.rounds) == record:
            self._move(record.commit)

    def _move(self, sha: str) -> None:
        """Move branch and files; what a kill leaves half-moved is told from a user's changes by the mark."""
        mark = self.folder.moving
        mark.touch()
        self.workspace.move(sha)
        mark.unlink()

    def _sketch(self) -> Sketch:
        return sketch(self.workspace.folder, pieces_too=self.settings.knobs.novelty < EXACT)

    def _session(self, number: int, task: Task, agent: Agent) -> AgentResult:
        """One agent at work in the workspace; its brief and its log are kept with the round."""
        place, origin = self.folder.round(number), self._origin(task).commit
        rounds, target, settings = self.history.rounds, self.target, self.settings
        if task.kind == "plan":
            brief = write_plan_brief(number, task, rounds, target, settings)
        else:
            brief = write_brief(number, task, rounds, target, settings.seed)
        (place / "brief.md").write_text(brief.text, encoding="utf-8")
        self.workspace.checkout(origin)
        with (place / "agent.log").open("w", encoding="utf-8", buffering=1) as stream:
            desk = Desk(
                self.workspace.folder, self.sandbox, restore=lambda: self.workspace.checkout(origin),
                log=lambda line: print(line, file=stream),
            )  # fmt: skip
            return agent.work(brief, desk)

    def _origin(self, task: Task) -> Round:
        return self.history.rounds[task.base if task.start is None else task.start]
