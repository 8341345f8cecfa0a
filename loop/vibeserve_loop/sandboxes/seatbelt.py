"""Seatbelt, macOS: a profile of its own for each command; memory is bounded for each process."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.machine.processes import Finished, Place, run_tethered
from vibeserve_loop.roles import Job
from vibeserve_loop.walls.profile import PROGRAM, profile
from vibeserve_loop.walls.started import new_mark

MENDING = "give `--sandbox none`"


class SeatbeltSandbox:
    """Runs a command under sandbox-exec; it reads the system and what the job names, and writes to the job's folder."""

    def obstacle(self) -> str:
        """Why Seatbelt cannot be used here, found by using it."""
        if sys.platform != "darwin":
            return f"there is no Seatbelt on {sys.platform}; {MENDING}"
        if not Path(PROGRAM).is_file():
            return f"{PROGRAM} is not there; {MENDING}"
        with tempfile.TemporaryDirectory() as scratch:
            try:
                done = self.run(Job(("/usr/bin/true",), Path(scratch), timeout_s=20.0))
            except InfrastructureError as error:
                return f"sandbox-exec does not work here ({error}); {MENDING}"
        return "" if done.code == 0 else f"sandbox-exec does not work here ({done.errors.strip()}); {MENDING}"

    def run(self, job: Job) -> Finished:
        """Run with the job's folder and a scratch folder writable."""
        with tempfile.TemporaryDirectory() as scratch:
            mark = new_mark()
            words = (PROGRAM, "-p", profile(job, Path(scratch)), *mark.before(job.command))
            environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": scratch}
            place = Place(
                job.writable.resolve(), {**environment, "TMPDIR": scratch}, job.timeout_s, memory_gib=job.memory_gib,
                file_gib=job.file_gib,
            )  # fmt: skip
            return mark.told(run_tethered(words, place), "sandbox-exec")
