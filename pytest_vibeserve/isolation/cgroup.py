"""A control group for one candidate, where this machine lets the gate make one: hard limits that need no watching."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Only a burst between two looks of the supervisor, which counts exactly and explains, is to meet the hard limit.
SLACK = 1.25
_REMOVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Folders of the cgroup file systems, one in version 2, one for each controller in version 1."""

    folders: tuple[Path, ...]

    def join(self) -> None:
        """Move the calling process there; OSError when the kernel refuses."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0")

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process of the group for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            for folder in self.folders:
                with suppress(OSError):
                    words = (folder / name).read_text().split()
                    if int(dict(zip(words[::2], words[1::2], strict=False)).get("oom_kill", "0")):
                        return True
        return False

    def remove(self) -> None:
        """End what is in it and remove it; a group that the kernel still holds for a moment is waited for."""
        for folder in self.folders:
            with suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
            deadline = time.monotonic() + _REMOVAL_S
            while folder.is_dir() and time.monotonic() < deadline:
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.01)


def control_group(name: str, memory: int, processes: int) -> ControlGroup | None:
    """A new group below the calling process's own with limits in bytes (0 for none) and processes, or None."""
    made: list[Path] = []
    try:
        for parent, limits in _places(int(memory * SLACK), processes):
            folder = parent / name
            folder.mkdir()
            made.append(folder)
            for file, value in limits.items():
                (folder / file).write_text(str(value))
    except OSError:
        ControlGroup(tuple(made)).remove()
        return None
    return ControlGroup(tuple(made)) if made else None


def _places(memory: int, processes: int) -> Iterator[tuple[Path, dict[str, int]]]:
    own = dict(line.strip().split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    for root, mount, kind, options in _mounts():
        if kind == "cgroup" and "memory" in options and memory:
            yield _below(mount, root, own.get("memory", "/")), {"memory.limit_in_bytes": memory}
        elif kind == "cgroup" and "pids" in options:
            yield _below(mount, root, own.get("pids", "/")), {"pids.max": processes}
        elif kind == "cgroup2":
            here = _below(mount, root, own.get("", "/"))
            for parent in (here, here.parent):
                handed_down = parent / "cgroup.subtree_control"
                if handed_down.is_file() and {"memory", "pids"} <= set(handed_down.read_text().split()):
                    yield parent, {"pids.max": processes, **({"memory.max": memory} if memory else {})}
                    break


def _mounts() -> Iterator[tuple[str, str, str, list[str]]]:
    """Root, place, type and controllers of each cgroup file system, from /proc/self/mountinfo (proc(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            yield before.split()[3], before.split()[4], kind, options.split(",")


def _below(mount: str, root: str, path: str) -> Path:
    """Where a group's path lies below the place that the group `root` is mounted at."""
    return Path(mount) / os.path.relpath(path, root) if root != "/" else Path(mount) / path.lstrip("/")
