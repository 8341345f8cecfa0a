"""From a name to a class: `plain` is a file of the folder, `package.module:Class` is anything importable."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.library import nearest
from vibeserve_loop import roles
from vibeserve_loop.foreign import Stumble, attempted, demanded
from vibeserve_loop.records import Assessment, Decision, Round, Task

Part = Literal["agents", "policies", "sandboxes"]
SUFFIX: dict[Part, str] = {"agents": "Agent", "policies": "Policy", "sandboxes": "Sandbox"}
ROLE: dict[Part, type] = {"agents": roles.Agent, "policies": roles.Policy, "sandboxes": roles.Sandbox}
AUTO = "auto"
METAL = "metal"
LOCAL = ("bubblewrap", "seatbelt")
"""Sandboxes that are namespaces or profiles of this machine's own processes."""
ELSEWHERE = ("docker", "modal")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A policy of somebody's own, whose faults end the run as the machine's do: mended, it is resumed."""

    name: str
    inner: roles.Policy
    planned: bool = False

    def propose(self, rounds: Sequence[Round]) -> Task | None:
        """What it proposes; InfrastructureError when it raises, or proposes what cannot be worked on."""
        found: object = self._done("propose", lambda: self.inner.propose(rounds))
        if found is None:
            return None
        return self._done("propose", lambda: _workable(found, rounds, self.planned))

    def decide(self, task: Task, assessment: Assessment) -> Decision:
        """What it decides; InfrastructureError when it raises, or decides nothing."""
        return self._done("decide", lambda: _final(self.inner.decide(task, assessment)))

    def _done(self, what: str, call: Callable[[], T]) -> T:
        found = attempted(call)
        if isinstance(found, Stumble):
            raise InfrastructureError(f"policy {self.name}: {what} raised {found.reason} ({found.place}); mend it")
        return found.value


def _workable(found: object, rounds: Sequence[Round], planned: bool) -> Task:
    """The task if a round can be worked from it and recorded; ValueError says why not."""
    if not isinstance(found, Task):
        raise TypeError(f"it gave {type(found).__name__}, not a Task")
    task = Task.model_validate_json(found.model_dump_json(warnings=False))
    if task.kind not in (("work", "plan") if planned else ("work",)) or task.orders:
        raise ValueError(f"a policy gives out no task of kind {task.kind}")
    for number in (task.base, *(() if task.start is None else (task.start,)), *task.inspirations):
        if not 0 <= number < len(rounds) or not rounds[number].commit:
            raise ValueError(f"round {number} has no code to begin from")
    return task


def _final(found: object) -> Decision:
    """The decision if it is one and can be recorded; ValueError says why not."""
    if not isinstance(found, Decision) or found.ruling == "pending":
        raise TypeError(f"it gave {found!r:.100}, not a Decision to accept or reject")
    return Decision.model_validate_json(found.model_dump_json(warnings=False))


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
    imported = attempted(lambda: getattr(importlib.import_module(dotted), attribute))
    if isinstance(imported, Stumble):
        raise UsageError(f"{name}: {imported.reason}{_where_to_look(dotted, imported)}")
    found: object = imported.value
    if not inspect.isclass(found) or not issubclass(found, ROLE[part]):
        raise UsageError(f"{name} is no {SUFFIX[part].lower()}: a class with {_methods(part)} is wanted")
    return found


def policy(name: str, charter: roles.Charter | None = None) -> roles.Policy:
    """A policy of that name; one whose constructor takes anything gets the charter."""
    found = find_class("policies", name)
    wanted = charter is not None and demanded(name, lambda: inspect.signature(found).parameters)
    made = cast(roles.Policy, demanded(f"policy {name}", lambda: found(charter) if wanted else found()))
    return Guarded(name, made, charter is not None and charter.planned) if ":" in name else made


def agent(name: str, options: Sequence[tuple[str, str]]) -> roles.Agent:
    """An agent of that name with its options; UsageError lists the options that it takes."""
    return cast(roles.Agent, _made("agents", name, options))


def sandbox(name: str) -> roles.Sandbox:
    """A sandbox of that name that works here; UsageError says why one does not."""
    made = cast(roles.Sandbox, _made("sandboxes", name, ()))
    if why := demanded(f"sandbox {name}", made.obstacle):
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
    signature = demanded(name, lambda: inspect.signature(found))
    try:
        signature.bind(**dict(options))
    except TypeError as error:
        wanted = ", ".join(signature.parameters) or "none"
        raise UsageError(f"{SUFFIX[part].lower()} {name}: {error}; its options are: {wanted}") from None
    return demanded(f"{SUFFIX[part].lower()} {name}", lambda: found(**dict(options)))


def _where_to_look(dotted: str, stumble: Stumble) -> str:
    """What to do about a module of the user's own that is not there."""
    own = dotted.partition(".")[0]
    missing = stumble.reason == f"ModuleNotFoundError: No module named '{own}'"
    return f"; PYTHONPATH names the folder that {own} is in, as in `PYTHONPATH=. vibeserve-loop ...`" if missing else ""


def _methods(part: Part) -> str:
    return " and ".join(f"{name}()" for name in vars(ROLE[part]) if not name.startswith("_"))
