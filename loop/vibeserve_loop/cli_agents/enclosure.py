"""Walls around an agent's program: the machine read-only, its home and the workspace writable."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.desk.rations import kind_of
from vibeserve_loop.roles import Desk
from vibeserve_loop.walls.relay import Endpoint, through

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc/alternatives", "/etc/ld.so.cache")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/ca-certificates", "/etc/nsswitch.conf", "/etc/passwd")


@dataclass(frozen=True, slots=True)
class Walls:
    """What is writable inside: the workspace, but for its `.git`, and other folders; and what else can be read.

    `door` leads to the `endpoint`, which is then all that can be reached.
    """

    folder: Path
    others: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    door: Path | None = None
    endpoint: Endpoint | None = None


def enclosed(command: tuple[str, ...], walls: Walls, desk: Desk) -> tuple[str, ...]:
    """The command behind bubblewrap's walls; as it is, and labelled so in the log, where the run has no sandbox."""
    if not walled(desk):
        desk.log("the program runs unenclosed: this run has no sandbox")
        return command
    if shutil.which("bwrap") is None:
        raise UsageError("a program of its own needs bubblewrap around it: install it, or give `--sandbox none`")
    words = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL"]
    words += [] if walls.door else ["--share-net"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in (*SYSTEM, *NETWORK, *_interpreters(command[0]), *map(str, walls.readable)):
        words += ["--ro-bind-try", path, path]
    for folder in (walls.folder, *walls.others):
        words += ["--bind", str(folder), str(folder)]
    if (walls.folder / ".git").exists():
        words += ["--ro-bind", str(walls.folder / ".git"), str(walls.folder / ".git")]
    if walls.door and walls.endpoint:
        words += ["--bind", str(walls.door.parent), str(walls.door.parent)]
        command = through(walls.door, walls.endpoint, command)
    reach = "the model's endpoint alone" if walls.door else "the machine's"
    desk.log(f"the program runs behind bubblewrap's walls; its network is {reach}")
    return (*words, "--chdir", str(walls.folder), *command)


def walled(desk: Desk) -> bool:
    """Whether the run has a sandbox, so that a program of its own gets walls too."""
    return kind_of(desk.sandbox) != "none"


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
