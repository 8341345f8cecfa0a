"""From a name to a class: `plain` is a file of the folder, `package.module:Class` is anything importable."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from typing import Literal, cast

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from vibeserve_loop import roles

Part = Literal["agents", "policies", "sandboxes"]
SUFFIX: dict[Part, str] = {"agents": "Agent", "policies": "Policy", "sandboxes": "Sandbox"}
ROLE: dict[Part, type] = {"agents": roles.Agent, "policies": roles.Policy, "sandboxes": roles.Sandbox}
AUTO = "auto"
METAL = "metal"
LOCAL = ("bubblewrap", "seatbelt")
"""Sandboxes that are namespaces or profiles of this machine's own processes."""
ELSEWHERE = ("docker", "modal")


def names(part: Part) -> tuple[str, ...]:
    """The names on offer: the files of the folder."""
    package = importlib.import_module(f"vibeserve_loop.{part}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def find_class(part: Part, name: str) -> type:
    """The class of that name; UsageError offers the nearest names, or says what could not be imported."""
    dotted, colon, attribute = name.partition(":")
    if not colon:
        if name not in names(part):
            raise UsageError(f"{part} has no {name!r}; {nearest(name, names(part))}; or give package.module:Class")
        dotted = f"vibeserve_loop.{part}.{name}"
        attribute = "".join(word.capitalize() for word in name.split("_")) + SUFFIX[part]
    try:
        found = getattr(importlib.import_module(dotted), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{name}: {error}") from None
    if not inspect.isclass(found) or not issubclass(found, ROLE[part]):
        raise UsageError(f"{name} is no {SUFFIX[part].lower()}: a class with {_methods(part)} is wanted")
    return found


def policy(name: str, charter: roles.Charter | None = None) -> roles.Policy:
    """A policy of that name; one whose constructor takes anything gets the charter."""
    found = find_class("policies", name)
    wanted = charter is not None and inspect.signature(found).parameters
    return cast(roles.Policy, found(charter) if wanted else found())


def agent(name: str, options: Sequence[tuple[str, str]]) -> roles.Agent:
    """An agent of that name with its options; UsageError lists the options that it takes."""
    return cast(roles.Agent, _made("agents", name, options))


def sandbox(name: str) -> roles.Sandbox:
    """A sandbox of that name that works here; UsageError says why one does not."""
    made = cast(roles.Sandbox, _made("sandboxes", name, ()))
    if why := made.obstacle():
        raise UsageError(f"sandbox {name}: {why}")
    return made


def obstacle(name: str) -> str:
    """Why the sandbox of that name cannot be used here; empty when it can."""
    return cast(roles.Sandbox, _made("sandboxes", name, ())).obstacle()


def best_sandbox(backend: str = "") -> str:
    """The name that `auto` stands for on this machine: the first that works, none at last; Metal wants a local one."""
    wanted = LOCAL if backend == METAL else (*LOCAL, "docker")
    return next((name for name in wanted if not obstacle(name)), "none")


def check_reach(name: str, backend: str) -> None:
    """UsageError for a sandbox in which the target's accelerator is not there."""
    if backend == METAL and name in ELSEWHERE:
        raise UsageError(f"--sandbox {name}: Metal is there for processes of this machine only; leave --sandbox out")


def _made(part: Part, name: str, options: Sequence[tuple[str, str]]) -> object:
    found = find_class(part, name)
    signature = inspect.signature(found)
    try:
        signature.bind(**dict(options))
    except TypeError as error:
        wanted = ", ".join(signature.parameters) or "none"
        raise UsageError(f"{SUFFIX[part].lower()} {name}: {error}; its options are: {wanted}") from None
    return found(**dict(options))


def _methods(part: Part) -> str:
    return " and ".join(f"{name}()" for name in vars(ROLE[part]) if not name.startswith("_"))
