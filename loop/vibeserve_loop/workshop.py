"""Where the rounds of a run are worked: the repository, the agents at their desk, and the gate."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Literal

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Target
from vibeserve_loop import decision
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.brief import write_brief
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.broker.visits import Allowance
from vibeserve_loop.desk.attendance import attended
from vibeserve_loop.desk.handover import Handover
from vibeserve_loop.desk.rations import Rationed
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.accounts import left_for, of_share
from vibeserve_loop.ledger.history import History
from vibeserve_loop.ledger.orders import in_force
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.machine.devices import WHOLE, Devices
from vibeserve_loop.machine.processes import wait_for_the_rest
from vibeserve_loop.planning.answer import read_answer
from vibeserve_loop.planning.novelty import EXACT, Made, sketch
from vibeserve_loop.planning.plan_brief import PROFILE_FILE, profile_of_incumbent, write_plan_brief
from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import AgentResult, Assessment, Round, Settings, Sketch, Task
from vibeserve_loop.roles import Agent, Crew, Desk, Left, Sandbox
from vibeserve_loop.tool_loop.meter import metered, with_lost
from vibeserve_loop.turn import NO_CODE, Turn
from vibeserve_loop.workspace import Commit, Workspace


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
    devices: Devices = WHOLE
    broker: Broker | None = None
    hands: threading.Lock = field(default_factory=threading.Lock)
    """Held for what the loop itself does around a session: one after another, rounds side by side begin staggered."""

    def prepare(self) -> None:
        """Bring the repository to where the record says it is; UsageError rather than sweep a user's changes away."""
        wait_for_the_rest(self.folder.path)
        self.workspace.unlock()
        best = lineage.incumbent(self.history.rounds)
        if best is None:
            self.workspace.begin(self.target.starter_folder, self.settings.created)
            return
        unfinished = self.folder.round(len(self.history.rounds)) / "brief.md"
        kept = Handover(self.workspace.folder).put_aside()
        changes = "" if kept or self.folder.moving.exists() or unfinished.is_file() else self.workspace.changes()
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
        return self._sketch(self.workspace) if task.kind == "starter" else None

    def edit(self, turn: Turn) -> tuple[Made, Commit]:
        """One agent's session, and the commit of what it left."""
        place, origin = turn.workspace, turn.origin
        work = self._session(turn, self.crew.editor(turn.task.agent))
        moment = self.settings.created + turn.number
        with self.hands:
            self._unnest(turn)
            commit = place.commit(f"round {turn.number}: {work.summary}", origin.commit, moment)
            likeness = self._sketch(place)
            place.keep(turn.number, commit.sha)
            self._tidy(turn)
        return Made(work, commit.tree, origin.tree, likeness), commit

    def plan(self, turn: Turn) -> tuple[AgentResult, Answer | None, str]:
        """Ask the planner; its answer, or None and why there is none that can be followed."""
        assert self.crew.planner is not None
        work = self._session(turn, self.crew.planner)
        answer, why = read_answer(turn.workspace.folder, turn.rounds, self.target)
        self._tidy(turn)
        return work, answer, why

    def _unnest(self, turn: Turn) -> None:
        """Code in a repository of the session's own is code like any other; the log says what was taken away."""
        if dropped := turn.workspace.drop_nested():
            with (self.folder.round(turn.number) / "agent.log").open("a", encoding="utf-8", errors="replace") as stream:
                print(f"taken away before the commit: {', '.join(dropped)}", file=stream)

    def _tidy(self, turn: Turn) -> None:
        """Leave the folder as the branch has it: what differs after a kill would look like changes."""
        best = lineage.incumbent(turn.rounds)
        turn.workspace.checkout((best or turn.origin).commit)

    def assess(self, turn: Turn, commit: Commit, depth: Literal["quick", "full"]) -> Assessment:
        """Ask the gate about a round's code; UsageError when the target is not the one that the run began with."""
        task, rounds = turn.task, turn.rounds
        candidate = Path(task.baseline) if task.kind == "baseline" else self._code(turn.number, commit.sha)
        rival = None if task.kind == "starter" else self._code_of(task.base if task.kind == "work" else 0)
        place = self.folder.round(turn.number)
        with self.devices.lease() as device:
            found = self.gate.assess(Case(candidate, rival, depth, place, self._alpha(turn), device))
        first = lineage.starter(rounds)
        digest = first.assessment.target_digest if first and first.assessment else found.target_digest
        if found.target_digest and found.target_digest != digest:
            where, kept = self.target.folder, self.folder.reference
            copy = f" (as it was it lies in {kept})" if kept.is_dir() else ""
            raise UsageError(f"the target changed since this run began: put {where} back{copy}, or start a new run")
        return found

    def _alpha(self, turn: Turn) -> float | None:
        if turn.task.alpha is not None:
            return turn.task.alpha
        return decision.alpha_for(turn.task, turn.rounds, in_force(self.settings, turn.rounds).max_rounds)

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

    def _sketch(self, place: Workspace) -> Sketch:
        return sketch(place.folder, pieces_too=self.settings.knobs.novelty < EXACT)

    def _session(self, turn: Turn, agent: Agent) -> AgentResult:
        """One session, which also answers for what sessions of the same work had spent that were killed."""
        rounds, place = turn.rounds, self.folder.round(turn.number)
        given = list(takewhile(lambda n: rounds[n].task.kind == "order", reversed(range(len(rounds)))))
        left = of_share(left_for(in_force(self.settings, rounds), rounds), turn.task.share)
        with metered(place, [self.folder.round(number) for number in given], left) as meter:
            return with_lost(self._one_session(turn, agent, meter.left), meter.before)

    def _one_session(self, turn: Turn, agent: Agent, left: Left) -> AgentResult:
        """One agent at work in the workspace; its brief and its log are kept with the round."""
        place, origin = self.folder.round(turn.number), turn.origin.commit
        target, settings, workspace = self.target, self.settings, turn.workspace
        with self.hands:
            if turn.task.kind == "plan":
                brief = write_plan_brief(turn.number, turn.task, turn.rounds, target, settings)
            else:
                brief = write_brief(turn.number, turn.task, turn.rounds, target, settings.seed)
            brief = replace(brief, left=left)
            (place / "brief.md").write_text(brief.text, encoding="utf-8")
            workspace.checkout(origin)
            if turn.task.kind == "plan":
                told = profile_of_incumbent(turn.rounds)
                (workspace.folder / PROFILE_FILE).write_text(told, encoding="utf-8")
        log = (place / "agent.log").open("w", encoding="utf-8", errors="replace", buffering=1)
        with log as stream, self._gate_for(turn) as asked:
            desk = Desk(
                workspace.folder, self._rationed(), restore=lambda: workspace.checkout(origin),
                log=lambda line: print(line, file=stream), readable=workspace.borrowed,
            )  # fmt: skip
            done = attended(agent, brief, desk)
            return done.model_copy(update={"gates": asked()}) if asked() else done

    def _rationed(self) -> Sandbox:
        """Agents' commands get the memory that a candidate has, and keep off the cores of gates beside them."""
        spare = self.devices.spare if self.settings.workers > 1 else ()
        return Rationed(self.sandbox, self.target.limits.memory_gib, spare)

    @contextlib.contextmanager
    def _gate_for(self, turn: Turn) -> Iterator[Callable[[], int]]:
        """Let the session ask the broker, where there is one; how often it did. A planner has the board alone."""
        broker = self.broker
        if broker is None:
            yield lambda: 0
            return
        knobs, plans = self.settings.knobs, turn.task.kind == "plan"
        rival = None if plans else self._code_of(turn.task.base)
        allowance = Allowance(0, 0) if plans else Allowance(knobs.quick_gates, knobs.full_gates)
        with broker.visit(turn.workspace.folder, rival, allowance) as address:
            yield lambda: broker.asked(address)
