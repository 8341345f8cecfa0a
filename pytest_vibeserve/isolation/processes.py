"""The processes below a process: what they used, how much memory they hold, and stopping and continuing them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_KINDS = ("pid", "mnt", "ipc")
_ENDED = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table: CPU seconds of its own and of its ended children, resident bytes."""

    pid: int
    parent: int
    cpu_s: float
    reaped_cpu_s: float
    resident: int
    started: int
    ended: bool
    threads: int = 1


def table() -> dict[int, Process]:
    """Every process that this machine shows, by pid."""
    found = _from_proc() if sys.platform == "linux" else _from_ps()
    return {process.pid: process for process in found}


def below(root: int, processes: dict[int, Process] | None = None) -> list[Process]:
    """All descendants of a process, without itself and without those that have ended."""
    known = table() if processes is None else processes
    children: dict[int, list[Process]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process)
    found, waiting = [], list(children.get(root, ()))
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting.extend(children.get(process.pid, ()))
    return [process for process in found if not process.ended]


def cpu_seconds(root: int) -> float:
    """CPU seconds of all descendants of a process, ended ones included once their parent has waited for them."""
    known = table()
    used = sum(process.cpu_s + process.reaped_cpu_s for process in below(root, known))
    return used + (known[root].reaped_cpu_s if root in known else 0.0)


def memory_bytes(root: int) -> int:
    """Memory of all descendants of a process; pages that several processes hold are counted once among them."""
    return sum(_proportional(process) for process in below(root))


def held_bytes(root: int, temporary: Iterable[str]) -> int:
    """`memory_bytes`, and what lies in the temporary file systems at those places as `root` sees them.

    What is mapped from there is counted once: mapped shared pages and stored ones overlap by the smaller of the two.
    """
    mapped = sum(_rollup(process, b"Pss_Shmem:") or 0 for process in below(root))
    return memory_bytes(root) + max(stored_bytes(root, temporary) - mapped, 0)


def stored_bytes(root: int, temporary: Iterable[str]) -> int:
    """Bytes in the temporary file systems at those places as a process sees them, a page for each file included.

    A file system that the caller has at that place too is not the process's own: its mounts are not made yet.
    """
    stored = {}
    for place in temporary:
        with suppress(*_ENDED, PermissionError):
            path = f"/proc/{root}/root{place}"
            device = os.stat(path).st_dev
            room = os.statvfs(path)
            files = (room.f_files - room.f_ffree) * _PAGE
            if device not in _devices(place):
                stored[device] = (room.f_blocks - room.f_bfree) * room.f_frsize + files
    return sum(stored.values())


def _devices(place: str) -> set[int]:
    """The devices of a place and of the root, as this process sees them."""
    return {os.stat(path).st_dev for path in ("/", place) if os.path.exists(path)}


def sockets_below(root: int) -> set[int]:
    """The sockets, by inode, that the descendants of a process hold."""
    found: set[int] = set()
    for process in below(root):
        with suppress(*_ENDED, PermissionError):
            for name in os.listdir(f"/proc/{process.pid}/fd"):
                with suppress(FileNotFoundError):
                    kind, _, inode = os.readlink(f"/proc/{process.pid}/fd/{name}").partition(":")
                    found |= {int(inode.strip("[]"))} if kind == "socket" else set()
    return found


def send(number: signal.Signals, processes: Iterable[Process]) -> None:
    """Send a signal to each process that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def stop_all(root: int) -> None:
    """SIGSTOP every descendant, those included that appear meanwhile."""
    stopped: set[int] = set()
    while fresh := [process for process in below(root) if process.pid not in stopped]:
        send(signal.SIGSTOP, fresh)
        stopped.update(process.pid for process in fresh)


def marked(marker: str) -> list[Process]:
    """The processes of this machine whose environment holds a text; those that may not be looked into are left out."""
    found = []
    for process in table().values():
        with suppress(*_ENDED, PermissionError), open(f"/proc/{process.pid}/environ", "rb") as file:
            if marker.encode() in file.read():
                found.append(process)
    return found


def namespaces(pid: int) -> frozenset[int]:
    """The PID, mount and IPC namespaces of a process by inode, one number space for all; none for one that is gone."""
    with suppress(*_ENDED):
        return frozenset(os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in _KINDS)
    return frozenset()


def held_namespaces(pid: int) -> list[int]:
    """Open descriptors of those namespaces, but for the caller's own: while they are open no inode is used again."""
    own, held = namespaces(os.getpid()), []
    for kind in _KINDS:
        with suppress(*_ENDED, PermissionError):
            held.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
            if os.fstat(held[-1]).st_ino in own:
                os.close(held.pop())
    return held


def in_namespaces(wanted: frozenset[int]) -> list[Process]:
    """The processes that live in any of those namespaces; with the last of them goes whatever was kept there."""
    found = []
    for process in table().values():
        with suppress(PermissionError):
            if namespaces(process.pid) & wanted:
                found.append(process)
    return found


def _from_proc() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(*_ENDED), open(f"/proc/{name}/stat", "rb") as file:
                yield _parsed(int(name), file.read())


def _parsed(pid: int, line: bytes) -> Process:
    """One line of /proc/PID/stat (proc(5)); the command's name may hold anything, so fields count from its end."""
    fields = line.rpartition(b")")[2].split()
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        cpu_s=(user + system) * _TICK_S,
        reaped_cpu_s=(reaped_user + reaped_system) * _TICK_S,
        resident=int(fields[21]) * _PAGE,
        started=int(fields[19]),
        ended=fields[0] in (b"Z", b"X"),
        threads=int(fields[17]),
    )


def _from_ps() -> Iterator[Process]:
    """The table as ps(1) prints it, where there is no /proc; the time of ended children is not known there."""
    lines = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,rss=,stat=,time="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for pid, parent, kilobytes, state, time in (line.split() for line in lines):
        days, _, clock = time.rpartition("-")
        seconds = 0.0
        for part in clock.split(":"):
            seconds = seconds * 60 + float(part)
        cpu_s = seconds + 86400 * int(days or 0)
        yield Process(int(pid), int(parent), cpu_s, 0.0, int(kilobytes) * 1024, 0, state.startswith("Z"))


def _proportional(process: Process) -> int:
    held = _rollup(process, b"Pss:")
    return process.resident if held is None else held


def _rollup(process: Process, field: bytes) -> int | None:
    """One field of smaps_rollup (proc(5)) in bytes, None where it may not be read."""
    with suppress(*_ENDED, PermissionError), open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None
