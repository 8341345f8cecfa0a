"""Bubblewrap: namespaces of its own, no network, everything read-only but the job's folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

from vibeserve_loop.machine.processes import Finished, Place, run_tethered
from vibeserve_loop.roles import Job
from vibeserve_loop.walls.interpreter import SYSTEM, interpreter
from vibeserve_loop.walls.relay import DOORWAY, endpoint_of, relayed, through
from vibeserve_loop.walls.started import new_mark

# Root keeps its capabilities inside a plain namespace and can undo read-only binds, hence the user and what is dropped.
WALLS = (
    *("--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
    *("--die-with-parent", "--new-session", "--clearenv"),
)
MENDING = "install bubblewrap (`apt-get install bubblewrap`) and allow user namespaces, or give `--sandbox none`"


class BubblewrapSandbox:
    """Runs a command in fresh namespaces; a repository's `.git` in the job's folder stays read-only."""

    def obstacle(self) -> str:
        """Why bwrap cannot be used here, found by using it."""
        if shutil.which("bwrap") is None:
            return f"bwrap is not installed; {MENDING}"
        done = self._start(Job(("true",), Path("/"), timeout_s=10.0), ())
        if done.code != 0:
            return f"bwrap does not work here ({(done.errors.strip() or 'no message').splitlines()[-1]}); {MENDING}"
        return ""

    def run(self, job: Job) -> Finished:
        """Run with the job's folder writable, and only what the job names readable besides the system."""
        folder = job.writable.resolve()
        binds = ["--bind", str(folder), str(folder)]
        if (folder / ".git").exists():
            binds += ["--ro-bind", str(folder / ".git"), str(folder / ".git")]
        for path in job.readable:
            binds += ["--ro-bind", str(path.resolve()), str(path.resolve())]
        with contextlib.ExitStack() as open_for_now:
            if job.endpoint:
                endpoint = endpoint_of(job.endpoint)
                door = open_for_now.enter_context(relayed(endpoint))
                binds += ["--bind", str(door.parent), str(door.parent), "--ro-bind", str(DOORWAY), str(DOORWAY)]
                job = replace(job, command=through(door, endpoint, job.command))
            mark = new_mark()
            done = self._start(replace(job, writable=folder, command=mark.before(job.command)), tuple(binds))
        return mark.told(done, "bubblewrap")

    def _start(self, job: Job, binds: tuple[str, ...]) -> Finished:
        arguments = ["bwrap", *WALLS, *_further_walls(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for path in (*SYSTEM, *interpreter()):
            arguments += ["--ro-bind-try", path, path]
        variables = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
        for name, value in variables.items():
            arguments += ["--setenv", name, value]
        arguments += [*binds, "--remount-ro", "/", "--chdir", str(job.writable), *job.command]
        place = Place(
            Path("/"), variables, job.timeout_s, cores=job.cores, memory_gib=job.memory_gib, file_gib=job.file_gib
        )
        return run_tethered(arguments, place)


@cache
def _further_walls() -> tuple[str, ...]:
    """What only newer versions of bwrap know: that no namespace can be made inside."""
    known = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=30, check=False).stdout
    return ("--disable-userns",) if "--disable-userns" in known else ()
