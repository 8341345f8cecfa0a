"""The profile of sandbox-exec(1), macOS, that lets a candidate use its view and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_vibeserve.isolation.interpreter import offered
from pytest_vibeserve.isolation.view import View, gate_folders

PROGRAM = "/usr/bin/sandbox-exec"
SYSTEM = ("/usr", "/bin", "/sbin", "/System", "/Library", "/opt/homebrew", "/private/var/db/dyld", "/private/etc")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/dtracehelper")
# what a process looks up to start at all, to find its user's name, and to reach the GPU through Metal
SERVICES = (
    "com.apple.system.opendirectoryd.libinfo",
    "com.apple.system.logger",
    "com.apple.system.notification_center",
    "com.apple.CoreServices.coreservicesd",
    "com.apple.MTLCompilerService",
)


def obstacle() -> str:
    """Why Seatbelt need not be tried here; "" when it should be."""
    if sys.platform != "darwin":
        return f"there is no Seatbelt on {sys.platform}"
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is not there"


def command_line(view: View, command: tuple[str, ...], writable: Iterable[Path]) -> tuple[str, ...]:
    """The words that run a command in the view under sandbox-exec; `writable` are its private folders."""
    return (PROGRAM, "-p", profile(view, writable), *command)


def profile(view: View, writable: Iterable[Path]) -> str:
    """The profile in Seatbelt's own language; of rules that match, the last one counts."""
    return "\n".join(_rules(view, [*writable, *([view.code] if view.writable else [])])) + "\n"


def _rules(view: View, writable: list[Path]) -> Iterator[str]:
    yield "(version 1)"
    yield "(deny default)"
    yield "(allow process-fork)"
    yield "(allow signal process-info* (target same-sandbox))"
    yield "(allow sysctl-read)"
    yield "(allow file-read-metadata)"
    yield f"(allow mach-lookup {' '.join(f'(global-name {_quoted(name)})' for name in SERVICES)})"
    yield '(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient" "IOSurfaceRootUserClient"))'
    yield f"(allow file-read* process-exec {_below(SYSTEM)})"
    # the interpreter may lie in the gate's repository, and the gate's code among the interpreter's packages
    trees = set(offered().trees)
    for path in sorted(trees | gate_folders(), key=lambda path: len(path.parts)):
        yield f"({'allow' if path in trees else 'deny'} file-read* process-exec {_below([path])})"
    yield f"(allow file-read* process-exec {_below((view.code, *writable))})"
    if view.model is not None:
        yield f"(allow file-read* {_below(_real(view.model))})"
    yield f"(allow file-read* file-write-data {' '.join(f'(literal {_quoted(name)})' for name in DEVICES)})"
    yield f"(allow file-write* {_below(writable)})"
    yield f"(deny file-write-setugid {_below(writable)})"
    if view.model is not None:
        # a build has no network at all; who serves may listen on this machine, and connect to nothing
        yield '(allow network-bind network-inbound (local ip "localhost:*"))'
    yield f"(allow network* (local unix-socket {_below(writable)}))"
    yield f"(allow network-outbound (remote unix-socket {_below(writable)}))"


def _real(model: Path) -> list[Path]:
    """The model's folder and the files that its links lead to, as in the hub's cache."""
    return [model, *(path.resolve() for path in sorted(model.rglob("*")) if path.is_symlink())]


def _below(paths: Iterable[Path | str]) -> str:
    return " ".join(f"(subpath {_quoted(os.path.realpath(path))})" for path in paths)


def _quoted(text: str) -> str:
    """A string of the language, whose escapes are those of JSON for what a path may hold."""
    return json.dumps(text, ensure_ascii=False)
