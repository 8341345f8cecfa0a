"""Walls around an agent's program: the machine read-only, home and workspace writable, one endpoint in reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.places import SYSTEM, own_places, places_of
from vibeserve_loop.cli_agents.reach import Reach
from vibeserve_loop.desk.rations import kind_of
from vibeserve_loop.roles import Desk, Sandbox
from vibeserve_loop.walls.relay import through_doors

NETWORK = ("/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/nsswitch.conf", "/etc/passwd")
NAMES = ("/etc/resolv.conf", "/etc/hosts")
BUBBLEWRAP, NONE = "bubblewrap", "none"
NO_REACH = Reach()


@dataclass(frozen=True, slots=True)
class Walls:
    """What is writable inside: the workspace, but for its `.git`, and other folders; and what else can be read.

    `nothing` is an empty file that stands for each `.env` beside what is shown.
    """

    folder: Path
    nothing: Path
    others: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    reach: Reach = NO_REACH


def check_walls(name: str, sandbox: Sandbox) -> None:
    """UsageError where an agent's program cannot be shut in as the run asks for."""
    if kind_of(sandbox) not in (BUBBLEWRAP, NONE):
        why = f"its program can be shut in by bubblewrap alone, not by {kind_of(sandbox)}"
        raise UsageError(f"agent {name}: {why}; give `--sandbox bubblewrap`, or `--sandbox none` to let it run free")


def enclosed(command: tuple[str, ...], walls: Walls, desk: Desk) -> tuple[str, ...]:
    """The command behind bubblewrap's walls; as it is, and labelled so in the log, where the run has no sandbox."""
    if not walled(desk):
        desk.log("the program runs unenclosed: this run has no sandbox")
        return command
    doors = walls.reach.doors
    words = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL"]
    words += [] if doors else ["--share-net"]
    # Who listens at a low port needs this in the very namespace that the network belongs to, which is that of user 0.
    words += ["--uid", "0", "--gid", "0", "--cap-add", "CAP_NET_BIND_SERVICE"] if walls.reach.is_privileged else []
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    words += list(_shown(command, walls))
    for folder in (walls.folder, *walls.others, *(door.socket.parent for door in doors)):
        words += ["--bind", str(folder), str(folder)]
    if (walls.folder / ".git").exists():
        words += ["--ro-bind", str(walls.folder / ".git"), str(walls.folder / ".git")]
    told = ", ".join(f"{door.endpoint.host}:{door.endpoint.port}" for door in doors)
    reach = f"the model's endpoint alone ({told})" if doors else "the machine's"
    desk.log(f"the program runs behind bubblewrap's walls; its network is {reach}")
    ways = [(door.socket, door.address, door.endpoint.port) for door in doors]
    return (*words, "--chdir", str(walls.folder), *(through_doors(ways, command) if doors else command))


def walled(desk: Desk) -> bool:
    """Whether the run has a sandbox, so that a program of its own gets walls too."""
    return kind_of(desk.sandbox) != NONE


def _shown(command: tuple[str, ...], walls: Walls) -> Iterator[str]:
    places = (*own_places(), *places_of(command, walls.folder), *walls.readable)
    for path in (*SYSTEM, *NETWORK, *map(str, places)):
        yield from ("--ro-bind-try", path, path)
    for secret in sorted({path / ".env" for path in places if (path / ".env").is_file()}):
        yield from ("--ro-bind", str(walls.nothing), str(secret))
    if walls.reach.hosts:
        yield from ("--ro-bind", str(walls.reach.hosts), "/etc/hosts")
        return
    for path in NAMES:
        yield from ("--ro-bind-try", path, path)
