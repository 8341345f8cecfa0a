"""A round while it is under way: what it was given, and how it shows to rounds that are given out beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Sketch, Task
from vibeserve_loop.workspace import Commit, Workspace

NO_CODE = Commit("", "")
UNDER_WAY = Decision(ruling="pending", reason="under way")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a round was given: its number, its task, the rounds it may know of, and the workspace it is worked in."""

    number: int
    task: Task
    rounds: tuple[Round, ...]
    workspace: Workspace

    @property
    def origin(self) -> Round:
        """The round whose code it begins from."""
        return self.rounds[self.task.base if self.task.start is None else self.task.start]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to, before it is recorded."""

    decision: Decision
    commit: Commit = NO_CODE
    work: AgentResult | None = None
    assessment: Assessment | None = None
    sketch: Sketch | None = None
    answer: Answer | None = None


def known_to(rounds: Sequence[Round], under_way: Sequence[Task]) -> tuple[Round, ...]:
    """The rounds as the next one sees them: those that are recorded, then the tasks that are under way."""
    waiting = [
        Round(round=len(rounds) + number, task=task, decision=UNDER_WAY, started=0.0, wall_s=0.0)
        for number, task in enumerate(under_way)
    ]
    return (*rounds, *waiting)
