"""The command line of bwrap(1) that shows a candidate its view and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pytest_vibeserve.isolation.confine import STAGE
from pytest_vibeserve.isolation.interpreter import SYSTEM, offered
from pytest_vibeserve.isolation.seccomp import kernel_filter
from pytest_vibeserve.isolation.supervisor import FILTER_FD, STATUS_FD
from pytest_vibeserve.isolation.view import (
    CODE,
    HOME,
    HOOK,
    NOBODY,
    TEMPORARY,
    View,
    accelerators,
    environment,
    hidden_folders,
    identity_files,
    model_mounts,
    profiled,
    scratch,
)


class CommandLine:
    """The words of one bwrap command; with `staged`, sources outside the system's folders are named by their stage."""

    def __init__(self, view: View, staged: bool) -> None:
        self._view = view
        self._staging = staged
        self.staged: list[str] = []

    def words(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The whole command line that runs `command` in the view."""
        assert program() is not None
        return (
            str(program()),
            *_namespaces(),
            *self._system(),
            *self._temporary(),
            *self._devices(),
            *self._interpreter(),
            *self._own(),
            *("--remount-ro", "/", "--chdir", CODE, "--json-status-fd", STATUS_FD),
            *(("--seccomp", FILTER_FD) if kernel_filter() else ()),
            "--",
            *command,
        )

    def _source(self, path: Path) -> str:
        if not self._staging:
            return str(path)
        self.staged.append(str(path))
        return f"{STAGE}/{len(self.staged) - 1}"

    def _system(self) -> Iterator[str]:
        yield from ("--ro-bind", str(SYSTEM), str(SYSTEM))
        for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
            if os.path.islink(name):
                yield from ("--symlink", os.readlink(name), name)
            else:
                yield from ("--ro-bind-try", name, name)
        for name in ("/etc/ld.so.cache", "/etc/alternatives"):
            yield from ("--ro-bind-try", name, name)
        for file, place in identity_files(self._view.private):
            yield from ("--ro-bind", self._source(file), place)

    def _temporary(self) -> Iterator[str]:
        size = ("--size", str(self._view.memory)) if self._view.memory and "--size" in _known_options() else ()
        yield from ("--proc", "/proc", "--dev", "/dev")
        # files below /proc/sys belong to root: a candidate with root's real uid could write them without any capability
        yield from ("--ro-bind", "/proc/sys", "/proc/sys")
        yield from ("--ro-bind-try", "/sys/devices/system", "/sys/devices/system")
        for place in TEMPORARY:
            yield from (*size, "--tmpfs", place)

    def _devices(self) -> Iterator[str]:
        found = accelerators()
        for device in found:
            yield from ("--dev-bind", str(device), str(device))
        if found:
            yield from ("--ro-bind", "/sys", "/sys")

    def _interpreter(self) -> Iterator[str]:
        """The interpreter's folders at their own paths, outer ones first, with the gate's own code covered."""
        trees, hidden = set(offered().trees), hidden_folders()
        for path in sorted(trees | hidden, key=lambda path: len(path.parts)):
            if path in trees:
                yield from ("--ro-bind", self._source(path), str(path))
            else:
                yield from ("--tmpfs", str(path))
        for path in sorted(hidden):
            yield from ("--remount-ro", str(path))
        for link in offered().links:
            yield from ("--symlink", os.readlink(link), str(link))
        chosen = environment(offered(), HOME, scratch()) | profiled(self._view, HOOK, scratch())
        for name, value in chosen.items():
            yield from ("--setenv", name, value)

    def _own(self) -> Iterator[str]:
        view = self._view
        yield from ("--bind" if view.writable else "--ro-bind", self._source(view.code), CODE)
        if view.model is not None:
            for source, place in model_mounts(view.model):
                yield from ("--ro-bind", self._source(source), place)
        if view.hook is not None:
            yield from ("--ro-bind", self._source(view.hook), HOOK)


@cache
def program() -> str | None:
    """The path of bwrap, or None where it is not installed."""
    return shutil.which("bwrap")


@cache
def _known_options() -> str:
    return subprocess.run([str(program()), "--help"], capture_output=True, text=True, check=False).stdout


def _namespaces() -> Iterator[str]:
    yield from ("--unshare-all", "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL")
    if "--disable-userns" in _known_options():
        yield "--disable-userns"
    yield from ("--die-with-parent", "--new-session", "--hostname", "candidate", "--clearenv")
