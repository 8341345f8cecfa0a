"""From what was asked to a search that is ready: a new run, or one that goes on."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop import resolve
from vibeserve_loop.assess import Gate
from vibeserve_loop.engine import Search
from vibeserve_loop.records import Settings
from vibeserve_loop.roles import Agent, Policy, Sandbox
from vibeserve_loop.runs import RunFolder, create, new_id
from vibeserve_loop.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line; names are not resolved yet."""

    target: str
    profile: str = "full"
    agent: str = "recipes"
    agent_options: tuple[str, ...] = ()
    policy: str = "plain"
    sandbox: str = resolve.AUTO
    seed: int | None = None
    max_rounds: int | None = None
    max_hours: float | None = None
    max_usd: float | None = None
    baselines: tuple[str, ...] = ()
    gate_command: tuple[str, ...] = ()


def new_run(request: Request, runs: Path) -> RunFolder:
    """Check everything that can be checked, then make the run's folder; UsageError names what to type instead."""
    target = load_target(request.target, request.profile)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    name = resolve.best_sandbox() if request.sandbox == resolve.AUTO else request.sandbox
    settings = Settings(
        id=new_id(seed),
        created=float(int(time.time())),
        target=str(target.folder),
        profile=request.profile,
        agent=request.agent,
        agent_options=tuple(_option(text) for text in request.agent_options),
        policy=request.policy,
        sandbox=name,
        seed=seed,
        max_rounds=request.max_rounds,
        max_hours=request.max_hours,
        max_usd=request.max_usd,
        baselines=tuple(str(baseline_folder(target, name)) for name in request.baselines),
        gate_command=request.gate_command,
    )
    if not (target.folder / "starter" / "candidate.toml").is_file():
        raise UsageError(f"{target.folder} has no starter/candidate.toml: a run begins from it")
    _parts(settings)
    Workspace(runs)
    return create(settings, runs)


@contextlib.contextmanager
def opened(folder: RunFolder) -> Iterator[Search]:
    """The search of a run, locked for this process."""
    settings = folder.settings()
    with folder.locked():
        target = load_target(settings.target, settings.profile)
        policy, agent, sandbox = _parts(settings)
        history = folder.history(repair=True)
        gate = Gate(target, folder.path, settings.gate_command)
        workspace = Workspace(folder.workspace)
        yield Search(settings, folder, target, history, workspace, gate, policy, agent, sandbox)


def baseline_folder(target: Target, name: str) -> Path:
    """A candidate's folder: `starter`, the name of one of the target's baselines, or a path."""
    known = {path.parent.name: path.parent for path in sorted(target.folder.glob("baselines/*/candidate.toml"))}
    if (target.folder / "starter" / "candidate.toml").is_file():
        known["starter"] = target.folder / "starter"
    path = known.get(name, Path(name).expanduser())
    if not (path / "candidate.toml").is_file():
        what = "has no candidate.toml" if path.is_dir() else "is no folder"
        raise UsageError(f"{name} {what} and no baseline of {target.name} is called so; {nearest(name, known)}")
    return path.resolve()


def _parts(settings: Settings) -> tuple[Policy, Agent, Sandbox]:
    policy = resolve.policy(settings.policy)
    return policy, resolve.agent(settings.agent, settings.agent_options), resolve.sandbox(settings.sandbox)


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--agent-option {text!r}: write it as key=value")
    return key, value
