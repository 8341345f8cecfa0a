"""Walls around an agent's program: the machine read-only, its home and the workspace writable."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.roles import Desk

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc/alternatives", "/etc/ld.so.cache")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/ca-certificates", "/etc/nsswitch.conf", "/etc/passwd")


@dataclass(frozen=True, slots=True)
class Walls:
    """What is writable inside: the workspace, but for its `.git`, and other folders; and what else can be read."""

    folder: Path
    others: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()


def enclosed(command: tuple[str, ...], walls: Walls, desk: Desk) -> tuple[str, ...]:
    """The command behind bubblewrap's walls; as it is, and labelled so in the log, where the run has no sandbox."""
    if type(desk.sandbox).__module__.endswith(".none"):
        desk.log("the program runs unenclosed: this run has no sandbox")
        return command
    if shutil.which("bwrap") is None:
        raise UsageError("a program of its own needs bubblewrap around it: install it, or give `--sandbox none`")
    words = ["bwrap", "--unshare-all", "--share-net", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in (*SYSTEM, *NETWORK, *_interpreters(command[0]), *map(str, walls.readable)):
        words += ["--ro-bind-try", path, path]
    for folder in (walls.folder, *walls.others):
        words += ["--bind", str(folder), str(folder)]
    if (walls.folder / ".git").exists():
        words += ["--ro-bind", str(walls.folder / ".git"), str(walls.folder / ".git")]
    desk.log("the program runs behind bubblewrap's walls; its network is the machine's")
    return (*words, "--chdir", str(walls.folder), *command)


def _interpreters(program: str) -> tuple[str, ...]:
    """Folders of this Python, of this package, and of the program with what was installed beside it."""
    found = {sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)}
    package = Path(__file__).resolve().parents[2]
    found |= {str(package), str(package.parent / "pytest_vibeserve")}
    found |= {path for path in sys.path if Path(path).is_dir()}
    place = shutil.which(program)
    if place is not None:
        for path in (Path(place), Path(place).resolve()):
            top = next((p for p in path.parents if p.name == "node_modules"), path.parent)
            found.add(str(top))
    return tuple(sorted(path for path in found if path not in ("/", "/usr", "/usr/bin", "/bin")))
