"""No sandbox: commands run as this user, with an empty environment; for machines that offer nothing better."""

from __future__ import annotations

import os
import tempfile

from vibeserve_loop.machine.processes import Finished, Place, run_tethered
from vibeserve_loop.roles import Job


class NoneSandbox:
    """Runs a command directly, killed with all its children past the limit; reading and network are the user's."""

    def obstacle(self) -> str:
        """Nothing stands in the way."""
        return ""

    def run(self, job: Job) -> Finished:
        """Run in the job's folder."""
        with tempfile.TemporaryDirectory() as scratch:
            environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": scratch}
            place = Place(
                job.writable, environment, job.timeout_s, cores=job.cores, memory_gib=job.memory_gib,
                file_gib=job.file_gib,
            )  # fmt: skip
            return run_tethered(job.command, place)
