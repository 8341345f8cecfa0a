"""What a policy, an agent and a sandbox must offer; each is one class in one file of its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from pytest_vibeserve.target import Target
from vibeserve_loop.processes import Finished
from vibeserve_loop.records import AgentResult, Assessment, Decision, Round, Task


@dataclass(frozen=True, slots=True)
class Job:
    """A command for a sandbox: `writable` is its working folder, `readable` is what else it may see."""

    command: tuple[str, ...]
    writable: Path
    readable: tuple[Path, ...] = ()
    timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Brief:
    """All that an agent is told: the same as data and, in `text`, as words."""

    number: int
    task: Task
    rounds: tuple[Round, ...]
    target: Target
    seed: int
    text: str


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an agent works: a folder with the base's code, a sandbox for commands, `restore` to begin again, a log."""

    folder: Path
    sandbox: Sandbox
    restore: Callable[[], None]
    log: Callable[[str], None]


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
class Policy(Protocol):
    """Decides what is tried and what is kept; a pure function of the rounds, the constructor takes no arguments."""

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """The next task, or None when the search is over."""
        ...

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """Keep the round's code, or not."""
        ...
