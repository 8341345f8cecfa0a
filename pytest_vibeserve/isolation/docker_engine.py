"""The command lines that run a candidate in a container of its own, and the place of its view in there."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pytest_vibeserve.isolation.interpreter import SYSTEM, offered
from pytest_vibeserve.isolation.supervisor import STATUS_FD
from pytest_vibeserve.isolation.view import (
    CODE,
    HOME,
    HOOK,
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

SOCKET = Path("/var/run/docker.sock")
ADDRESS = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_ROOT = Path(__file__).resolve().parent.parent.parent
_MAIN = "import sys; sys.path.insert(0, sys.argv[1]); from pytest_vibeserve.isolation.container import main; main()"
_USUAL = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host and where it appears."""

    source: str
    place: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """Everything about one container; `links` are in its otherwise empty image, `covered` folders are empty."""

    name: str
    command: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    links: dict[str, str]
    binds: tuple[Bind, ...]
    temporary: tuple[str, ...]
    covered: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    memory: int = 0

    def to_text(self) -> str:
        """As text that crosses processes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Container:
        """Back from such a text."""
        made = cls(**json.loads(text))
        binds = tuple(Bind(**bind) for bind in json.loads(text)["binds"])
        return replace(made, command=tuple(made.command), binds=binds)


@dataclass(frozen=True, slots=True)
class CommandLines:
    """What runs a container until its end, and what removes whatever is left of it."""

    run: tuple[str, ...]
    remove: tuple[str, ...]


def obstacle() -> str:
    """Why Docker need not be tried here; "" when it should be."""
    if sys.platform != "linux":
        return "containers run in a virtual machine here, whose network the gate cannot enter"
    if find_spec("docker") is None:
        return "the docker package is not installed"
    if not os.environ.get("DOCKER_HOST") and not SOCKET.exists():
        return f"no container engine answers at {SOCKET}"
    if os.geteuid() != 0:
        return "a gate that is not root cannot enter a container's network"
    return ""


def engine_address() -> tuple[str, ...]:
    """NAME=VALUE texts that tell Docker's client which engine to ask."""
    return tuple(f"{name}={os.environ[name]}" for name in ADDRESS if name in os.environ)


def command_line(view: View, command: tuple[str, ...]) -> CommandLines:
    """The words that run a command in the view in a container, and those that remove it."""
    name = f"vibeserve-{secrets.token_hex(8)}"
    python = offered()
    made = Container(
        name=name,
        command=command,
        folder=CODE,
        environment=environment(python, HOME, scratch()) | profiled(view, HOOK, scratch()),
        links={**_system_links(), **{str(link): os.readlink(link) for link in python.links}},
        binds=tuple(_binds(view)),
        temporary=TEMPORARY,
        covered=tuple(str(path) for path in sorted(hidden_folders())),
        devices=tuple(str(device) for device in accelerators()),
        memory=view.memory,
    )
    program = (sys.executable, "-I", "-B", "-c", _MAIN, str(_ROOT))
    return CommandLines((*program, "run", made.to_text(), STATUS_FD), (*program, "remove", name))


def _system_links() -> dict[str, str]:
    return {name: os.readlink(name) for name in _USUAL if os.path.islink(name)}


def _binds(view: View) -> Iterator[Bind]:
    yield Bind(str(SYSTEM), str(SYSTEM))
    for name in (*_USUAL, "/etc/ld.so.cache", "/etc/alternatives"):
        if os.path.exists(name) and not os.path.islink(name):
            yield Bind(name, name)
    for file, place in identity_files(view.private):
        yield Bind(str(file), place)
    for tree in offered().trees:
        yield Bind(str(tree), str(tree))
    yield Bind(str(view.code), CODE, view.writable)
    if view.model is not None:
        for source, place in model_mounts(view.model):
            yield Bind(str(source), place)
    if view.hook is not None:
        yield Bind(str(view.hook), HOOK)
