"""What a candidate's process does to itself between fork and exec: limits, staged folders, another user."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from pytest_vibeserve.isolation.cgroup import ControlGroup
from pytest_vibeserve.isolation.errand import Errand

STAGE = "/tmp"

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
MOST_FILES = 1 << 16
LARGEST_FILE = 64 << 30


def most_processes() -> int:
    """How many processes and threads a candidate may have: a pool for each core in each of many workers."""
    return 2048 + 256 * (os.cpu_count() or 1)


def confine(errand: Errand, group: ControlGroup | None = None) -> None:
    """Limit and confine the calling process as the errand says; OSError when the system refuses."""
    if group:
        group.join()
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # when memory runs out the candidate is to go, not the gate
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, most_processes())
    _lower(resource.RLIMIT_NOFILE, MOST_FILES)
    _lower(resource.RLIMIT_FSIZE, LARGEST_FILE)
    if errand.uid is not None:
        _stage(errand.staged)
        os.setgroups([])
        os.setresgid(errand.uid, errand.uid, errand.uid)
        os.setresuid(errand.uid, errand.uid, errand.uid)


def adopt_orphans() -> None:
    """Make the calling process the parent of every descendant whose own parent ends (PR_SET_CHILD_SUBREAPER)."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (value, value))


def _stage(sources: tuple[str, ...]) -> None:
    """Bind each source below STAGE in a mount namespace of our own, so that it is reached without its parents."""
    _call("unshare", ctypes.c_int(_CLONE_NEWNS))
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    opened = [os.open(source, os.O_PATH) for source in sources]
    _mount("tmpfs", STAGE, "tmpfs", 0)
    for number, descriptor in enumerate(opened):
        place = f"{STAGE}/{number}"
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(f"/proc/self/fd/{descriptor}", place, None, _MS_BIND | _MS_REC)
        os.close(descriptor)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _call("mount", *texts, ctypes.c_ulong(flags), b"mode=755" if kind else None)


def _prctl(option: int, value: int) -> None:
    _call("prctl", ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
