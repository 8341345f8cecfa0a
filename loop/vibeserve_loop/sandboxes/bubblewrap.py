"""Bubblewrap: namespaces of its own, no network, everything read-only but the job's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.processes import Finished, Place, run_tethered
from vibeserve_loop.roles import Job

# Root keeps its capabilities inside a plain namespace and can undo read-only binds, hence the user and what is dropped.
WALLS = (
    *("--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
    *("--die-with-parent", "--new-session", "--clearenv"),
)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
MENDING = "install bubblewrap (`apt-get install bubblewrap`) and allow user namespaces, or give `--sandbox none`"


class BubblewrapSandbox:
    """Runs a command in fresh namespaces; a repository's `.git` in the job's folder stays read-only."""

    def obstacle(self) -> str:
        """Why bwrap cannot be used here, found by using it."""
        if shutil.which("bwrap") is None:
            return f"bwrap is not installed; {MENDING}"
        done = self._start(["true"], Path("/"), (), 10.0)
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
        done = self._start(list(job.command), folder, tuple(binds), job.timeout_s)
        if done.errors.startswith("bwrap: ") and done.code == 1:
            raise InfrastructureError(f"the sandbox failed: {done.errors.strip()}; `vibeserve-loop doctor` tells more")
        return done

    def _start(self, command: list[str], folder: Path, binds: tuple[str, ...], timeout_s: float) -> Finished:
        arguments = ["bwrap", *WALLS, *_further_walls(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for path in (*SYSTEM, *_interpreter()):
            arguments += ["--ro-bind-try", path, path]
        variables = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
        for name, value in variables.items():
            arguments += ["--setenv", name, value]
        arguments += [*binds, "--remount-ro", "/", "--chdir", str(folder), *command]
        return run_tethered(arguments, Place(Path("/"), variables, timeout_s))


@cache
def _further_walls() -> tuple[str, ...]:
    """What only newer versions of bwrap know: that no namespace can be made inside."""
    known = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=30, check=False).stdout
    return ("--disable-userns",) if "--disable-userns" in known else ()


def _interpreter() -> tuple[str, ...]:
    """The folders of this Python and of what it was made from; links are followed, for both ends must exist inside."""
    found = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    return tuple(sorted(path for path in found if path not in ("/", "/usr")))
