"""Docker: a container for each command, without a network, everything read-only but the job's folder."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

from vibeserve_loop.machine.processes import Finished
from vibeserve_loop.roles import Job
from vibeserve_loop.walls.container import Boxed, asked, boxed
from vibeserve_loop.walls.relay import DOORWAY, endpoint_of, relayed, through

MENDING = "install and start a container engine (`apt-get install docker.io`), or give `--sandbox bubblewrap`"


class DockerSandbox:
    """Runs a command in a container whose image is empty; a repository's `.git` in the job's folder stays read-only."""

    def obstacle(self) -> str:
        """Why the engine cannot be used here, found by asking it."""
        if shutil.which("docker") is None:
            return f"the program docker is not installed; {MENDING}"
        done = asked(["version", "--format", "{{.Server.Version}}"])
        if done.returncode != 0:
            said = (done.stderr.decode("utf-8", "replace").strip() or "no message").splitlines()[-1]
            return f"no container engine answers ({said}); {MENDING}"
        return ""

    def run(self, job: Job) -> Finished:
        """Run with the job's folder writable, and only what the job names readable besides the system."""
        folder, readable = job.writable.resolve(), tuple(path.resolve() for path in job.readable)
        box = Boxed(job.command, folder, (folder,), readable, job.timeout_s, job.memory_gib, job.cores, job.file_gib)
        with contextlib.ExitStack() as open_for_now:
            if job.endpoint:
                endpoint = endpoint_of(job.endpoint)
                door = open_for_now.enter_context(relayed(endpoint))
                shown = (*readable, DOORWAY)
                command = through(door, endpoint, job.command)
                box = replace(box, command=command, readable=shown, writable=(folder, door.parent))
            return boxed(box)
