"""What a policy, an agent and a sandbox must offer; each is one class in one file of its folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pytest_vibeserve.target import Objective, Target
from vibeserve_loop.machine.processes import LARGEST_FILE_GIB, Finished
from vibeserve_loop.records import AgentResult, Assessment, Decision, Knobs, Round, Task
from vibeserve_loop.skills import Technique

DEFAULT_KNOBS = Knobs()


@dataclass(frozen=True, slots=True)
class Job:
    """A command for a sandbox: `writable` is its working folder, `readable` is what else it may see.

    `endpoint` (HOST:PORT on this machine) is all that it may reach, empty is nothing; `memory_gib` 0 is no limit;
    `cores` pins it, empty leaves it where the loop may run; no file that it writes, nor its output, grows beyond
    `file_gib`.
    """

    command: tuple[str, ...]
    writable: Path
    readable: tuple[Path, ...] = ()
    timeout_s: float = 120.0
    endpoint: str = ""
    memory_gib: float = 0.0
    cores: tuple[int, ...] = ()
    file_gib: float = LARGEST_FILE_GIB


@dataclass(frozen=True, slots=True)
class Left:
    """What a run has left for one session; infinite where it has no limit."""

    seconds: float = math.inf
    usd: float = math.inf
    tokens: float = math.inf


UNLIMITED = Left()


@dataclass(frozen=True, slots=True)
class Brief:
    """All that an agent is told: the same as data and, in `text`, as words; and what its session may use up."""

    number: int
    task: Task
    rounds: tuple[Round, ...]
    target: Target
    seed: int
    text: str
    left: Left = UNLIMITED


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an agent works: a folder with the base's code, a sandbox for commands, `restore` to begin again, a log.

    `readable` is what else its commands may see: git's objects, where the folder borrows them from the run.
    """

    folder: Path
    sandbox: Sandbox
    restore: Callable[[], None]
    log: Callable[[str], None]
    readable: tuple[Path, ...] = ()


@runtime_checkable
class Sandbox(Protocol):
    """Runs commands apart from the rest of the machine."""

    def obstacle(self) -> str:
        """Why this sandbox cannot be used on this machine and how to mend it; empty when it can."""
        ...

    def run(self, job: Job) -> Finished:
        """Run to the end, killed with all children past the limit; InfrastructureError when the sandbox fails."""
        ...


@runtime_checkable
class Agent(Protocol):
    """Edits the code of one round; keyword arguments of the constructor, all strings, are its options."""

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """Edit `desk.folder` in place and say what was done."""
        ...


@runtime_checkable
class Priced(Protocol):
    """An agent whose sessions cost money; no agent has to say so."""

    def unpriced(self) -> str:
        """Why nobody would know what a session costs in dollars, and what to do; empty where it is known."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """An agent that can say what it lacks before a run begins; no agent has to."""

    def ready(self) -> None:
        """UsageError when a key or a program is missing."""
        ...


@runtime_checkable
class Enclosable(Protocol):
    """An agent that is a program of its own, which has to be shut in; no agent has to be."""

    def fits(self, sandbox: Sandbox) -> None:
        """UsageError when its program cannot be shut in as that sandbox would."""
        ...


@dataclass(frozen=True, slots=True)
class Charter:
    """What a policy is told once: the search's settings, what counts, what is on the shelf, and who is there.

    `planned`: an agent plans; `mends`: whoever edits can make something of refused code, which recipes cannot.
    """

    knobs: Knobs = DEFAULT_KNOBS
    objectives: tuple[Objective, ...] = ()
    techniques: tuple[Technique, ...] = ()
    agents: tuple[str, ...] = ("",)
    planned: bool = False
    mends: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Crew:
    """Who works in a run: the agents that edit, by label, the first first; and who plans, if anybody is asked."""

    agents: tuple[tuple[str, Agent], ...]
    planner: Agent | None = None

    @property
    def everybody(self) -> tuple[Agent, ...]:
        """All who work in the run."""
        return (*(agent for _, agent in self.agents), *((self.planner,) if self.planner else ()))

    def editor(self, label: str) -> Agent:
        """The agent of that label; the first for one that is not there any more."""
        return next((agent for name, agent in self.agents if name == label), self.agents[0][1])


@runtime_checkable
class Policy(Protocol):
    """Decides what is tried and kept; a pure function of the rounds, the constructor takes nothing or a `Charter`."""

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """The next task, or None when the search is over."""
        ...

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep the round's code, or not."""
        ...
