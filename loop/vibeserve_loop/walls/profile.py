"""The profile of sandbox-exec(1), macOS, for one command: of rules that match, the last one counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vibeserve_loop.roles import Job
from vibeserve_loop.walls.interpreter import interpreter
from vibeserve_loop.walls.relay import endpoint_of

PROGRAM = "/usr/bin/sandbox-exec"
SYSTEM = ("/usr", "/bin", "/sbin", "/System", "/Library", "/opt/homebrew", "/private/var/db/dyld", "/private/etc")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/dtracehelper")
# What a process looks up to start at all, to find its user's name, and to reach the GPU through Metal.
SERVICES = (
    "com.apple.system.opendirectoryd.libinfo",
    "com.apple.system.logger",
    "com.apple.system.notification_center",
    "com.apple.CoreServices.coreservicesd",
    "com.apple.MTLCompilerService",
)


def profile(job: Job, scratch: Path) -> str:
    """The rules for a job: its folder and the scratch folder writable, what it names readable, one endpoint or none."""
    return "\n".join(_rules(job, scratch)) + "\n"


def _rules(job: Job, scratch: Path) -> Iterator[str]:
    yield "(version 1)"
    yield "(deny default)"
    yield "(allow process-fork)"
    yield "(allow signal process-info* (target same-sandbox))"
    yield "(allow sysctl-read)"
    yield "(allow file-read-metadata)"
    yield f"(allow mach-lookup {' '.join(f'(global-name {_quoted(name)})' for name in SERVICES)})"
    yield '(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient" "IOSurfaceRootUserClient"))'
    shown: tuple[Path | str, ...] = (*SYSTEM, *interpreter(), *job.readable, job.writable, scratch)
    yield f"(allow file-read* process-exec {_below(shown)})"
    yield f"(allow file-read* file-write-data {' '.join(f'(literal {_quoted(name)})' for name in DEVICES)})"
    yield f"(allow file-write* {_below((job.writable, scratch))})"
    yield f"(deny file-write* {_below((job.writable / '.git',))})"
    yield f"(deny file-write-setugid {_below((job.writable, scratch))})"
    if job.endpoint:
        yield f'(allow network-outbound (remote ip "localhost:{endpoint_of(job.endpoint).port}"))'


def _below(paths: Iterable[Path | str]) -> str:
    return " ".join(f"(subpath {_quoted(os.path.realpath(path))})" for path in paths)


def _quoted(text: str) -> str:
    """A string of the language, whose escapes are those of JSON for what a path may hold."""
    return json.dumps(text, ensure_ascii=False)
