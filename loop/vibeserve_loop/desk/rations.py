"""What the commands of agents may take of the machine: memory for each process, and cores that no gate is lent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vibeserve_loop.machine.processes import Finished
from vibeserve_loop.roles import Job, Sandbox


@dataclass(frozen=True, slots=True)
class Rationed:
    """A sandbox whose jobs are bounded where they do not say so themselves; 0 and empty are no bound."""

    inner: Sandbox
    memory_gib: float = 0.0
    cores: tuple[int, ...] = ()

    def obstacle(self) -> str:
        """Why the sandbox cannot be used here."""
        return self.inner.obstacle()

    def run(self, job: Job) -> Finished:
        """Run within the bounds."""
        memory, cores = job.memory_gib or self.memory_gib, job.cores or self.cores
        return self.inner.run(replace(job, memory_gib=memory, cores=cores))


def kind_of(sandbox: Sandbox) -> str:
    """The name that a sandbox is asked for by, whatever bounds it has; of a foreign one its module's."""
    inner = sandbox.inner if isinstance(sandbox, Rationed) else sandbox
    return type(inner).__module__.removeprefix("vibeserve_loop.sandboxes.")


def cores_of(sandbox: Sandbox) -> tuple[int, ...]:
    """The cores that agents keep to; empty is all."""
    return sandbox.cores if isinstance(sandbox, Rationed) else ()
