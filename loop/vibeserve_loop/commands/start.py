"""From what was asked to a search that is ready: a new run, or one that goes on."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.target import Target, load_target
from vibeserve_loop import resolve
from vibeserve_loop.assess import PYTEST, Gate, limit_of
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.cli_agents.own_class import separated
from vibeserve_loop.commands.money import check_money
from vibeserve_loop.engine import Search
from vibeserve_loop.foreign import demanded
from vibeserve_loop.ledger.runs import RunFolder, create, new_id
from vibeserve_loop.machine.devices import WHOLE, Device, Devices, devices_named
from vibeserve_loop.machine.executors import launcher, queue_of
from vibeserve_loop.options import absolute, knobs_given, masked_text, words_of
from vibeserve_loop.planning.issues import Issues
from vibeserve_loop.planning.population import objectives_named
from vibeserve_loop.records import AgentChoice, Knobs, Settings
from vibeserve_loop.roles import DEFAULT_KNOBS, Charter, Crew, Enclosable, Policy, Prepared, Sandbox
from vibeserve_loop.skills import techniques_for
from vibeserve_loop.workshop import Workshop
from vibeserve_loop.workspace import Workspace

AUTO_PLANNER, RULE = "auto", "rule"
OFFLINE = ("recipes", "recorded", "handoff")
"""Agents that have no model behind them: the rule plans for them unless somebody else is named."""
LOOKS_INSIDE_FROM_H = 1.0
ROUND_TRIP_S = 300.0
ONE_OBJECTIVE = ("plain", "agent")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line; names are not resolved yet."""

    target: str
    profile: str = "full"
    agents: tuple[str, ...] = ("recipes",)
    agent_options: tuple[str, ...] = ()
    planner: str = AUTO_PLANNER
    policy: str = "plain"
    sandbox: str = resolve.AUTO
    strict: bool = False
    seed: int | None = None
    workers: int = 1
    devices: tuple[str, ...] = ()
    executor: str = ""
    max_rounds: int | None = None
    max_hours: float | None = None
    max_usd: float | None = None
    max_tokens: int | None = None
    knobs: Knobs = DEFAULT_KNOBS
    baselines: tuple[str, ...] = ()
    gate_command: tuple[str, ...] = ()
    reviewer: str = ""


def request_of(asked: Mapping[str, Any]) -> Request:
    """A request from the command line's values; the policies' settings go together."""
    given = knobs_given(asked)
    rest = {name: value for name, value in asked.items() if name in Request.__dataclass_fields__}
    return Request(**rest, knobs=Knobs(**given))


def new_run(request: Request, runs: Path) -> RunFolder:
    """Check everything that can be checked, then make the run's folder; UsageError names what to type instead."""
    target = load_target(request.target, request.profile)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    backend = target.hardware.backend
    name = resolve.best_sandbox(backend) if request.sandbox == resolve.AUTO else request.sandbox
    resolve.check_reach(name, backend)
    agents = [_choice(text, request.agent_options) for text in request.agents]
    settings = Settings(
        id=new_id(seed),
        created=float(int(time.time())),
        target=str(target.folder),
        profile=request.profile,
        agent=agents[0].name,
        agent_options=agents[0].options,
        more_agents=tuple(agents[1:]),
        planner=_planner(request, agents[0]),
        knobs=request.knobs,
        policy=request.policy,
        sandbox=name,
        strict=request.strict,
        seed=seed,
        workers=request.workers,
        devices=request.devices,
        executor=request.executor,
        max_rounds=request.max_rounds,
        max_hours=request.max_hours,
        max_usd=request.max_usd,
        max_tokens=request.max_tokens,
        baselines=tuple(str(baseline_folder(target, name)) for name in request.baselines),
        gate_command=request.gate_command,
        reviewer=tuple(words_of("--reviewer", request.reviewer)),
    )
    _check(settings, target)
    Workspace(runs)
    return create(settings, runs, target.folder)


def _check(settings: Settings, target: Target) -> None:
    """UsageError where the parts of a run do not go together or are not ready."""
    if not (target.starter_folder / "candidate.toml").is_file():
        raise UsageError(f"{target.folder} has no starter/candidate.toml: a run begins from it")
    if settings.workers > 1 and any(choice.name == "handoff" for choice in settings.agents):
        raise UsageError("the agent handoff works in one workspace: leave --workers out")
    _, crew, sandbox = _parts(settings, target)
    for agent in crew.everybody:
        name = f"agent {type(agent).__module__}:{type(agent).__qualname__}"
        if isinstance(agent, Prepared):
            demanded(f"{name}: ready", agent.ready)
        if isinstance(agent, Enclosable):
            demanded(f"{name}: fits", partial(agent.fits, sandbox))
    if settings.max_usd is not None:
        check_money(settings)
    if settings.knobs.objectives and settings.policy in ONE_OBJECTIVE:
        raise UsageError(f"--objective is for --policy evolve; {settings.policy} goes by the target's headline alone")
    if settings.executor and settings.devices:
        raise UsageError("--device is for gates on this machine: leave it or --executor out")
    devices_of(settings, target)
    _launcher(settings, target)


@contextlib.contextmanager
def opened(folder: RunFolder) -> Iterator[Search]:
    """The search of a run, locked for this process."""
    settings = folder.settings()
    with folder.locked():
        target = load_target(settings.target, settings.profile)
        policy, crew, sandbox = _parts(settings, target)
        history = folder.history(repair=True)
        launcher = _launcher(settings, target)
        gate = Gate(
            target, folder.path, launcher, settings.strict, settings.reviewer, insight=_has_time(settings),
            waits_s=ROUND_TRIP_S + queue_of(settings.executor) if settings.executor else 0.0,
        )  # fmt: skip
        workspace, devices = Workspace(folder.workspace), devices_of(settings, target)
        hands = settings.workers if settings.executor else len(devices)
        broker = Broker(gate, folder.path / "broker", Issues(folder), devices, hands, bool(settings.executor))
        with broker.serving(), _separate(crew, settings, folder.path) as crew:
            parts = (workspace, gate, crew, sandbox, devices, broker)
            yield Search(Workshop(settings, folder, target, history, *parts), policy)


@contextlib.contextmanager
def _separate(crew: Crew, settings: Settings, folder: Path) -> Iterator[Crew]:
    """The crew, its classes of the user's own in processes of their own."""
    with contextlib.ExitStack() as stack:
        pairs = zip(settings.agents, crew.agents, strict=True)
        agents = [
            (label, stack.enter_context(separated(choice, agent, folder, settings.workers)))
            for choice, (label, agent) in pairs
        ]
        planner = crew.planner
        if settings.planner and planner:
            planner = stack.enter_context(separated(settings.planner, planner, folder, settings.workers))
        yield Crew(tuple(agents), planner)


def _has_time(settings: Settings) -> bool:
    """Whether a look inside, which takes a start of the server more, is a small part of what may be used up."""
    return settings.max_hours is None or settings.max_hours >= LOOKS_INSIDE_FROM_H


def baseline_folder(target: Target, name: str) -> Path:
    """A candidate's folder: `starter`, the name of one of the target's baselines, or a path."""
    known = target.own_candidates
    path = known.get(name, Path(name).expanduser())
    if not (path / "candidate.toml").is_file():
        what = "has no candidate.toml" if path.is_dir() else "is no folder"
        raise UsageError(f"{name} {what} and no baseline of {target.name} is called so; {nearest(name, known)}")
    return path.resolve()


def _parts(settings: Settings, target: Target) -> tuple[Policy, Crew, Sandbox]:
    known = techniques_for(target) if settings.agent == "recipes" else ()
    objectives = objectives_named(settings.knobs.objectives, target.objective) or target.objective
    labels = tuple(choice.label for choice in settings.agents)
    if len(set(labels)) < len(labels):
        raise UsageError(
            f"--agent {masked_text('agent', labels[0])!r} is given twice; give each agent once, or with other options"
        )
    planned = settings.planner is not None
    charter = Charter(settings.knobs, objectives, known, labels, planned, _mends(settings), settings.seed)
    editors = tuple((choice.label, resolve.agent(choice.name, choice.options)) for choice in settings.agents)
    planner = resolve.agent(settings.planner.name, settings.planner.options) if settings.planner else None
    return resolve.policy(settings.policy, charter), Crew(editors, planner), resolve.sandbox(settings.sandbox)


def _mends(settings: Settings) -> bool:
    """Whether the agents can work on refused code: recipes apply to the base alone, and so do patches."""
    for choice in settings.agents:
        options = dict(choice.options)
        if choice.name == "recorded" and options.get("run"):
            recorded = RunFolder(Path(options["run"])).settings()
            if not _mends(recorded):
                return False
        elif choice.name in ("recipes", "recorded"):
            return False
    return True


def _launcher(settings: Settings, target: Target) -> tuple[str, ...]:
    plain = settings.gate_command or PYTEST
    return launcher(settings.executor, plain, target.hardware.backend, limit_of(target))


def devices_of(settings: Settings, target: Target) -> Devices:
    """What gates may measure on: an executor sees to it itself, one worker without a choice has the whole machine."""
    if settings.executor:
        return WHOLE
    named = devices_named(settings.devices, target.hardware.backend)
    if settings.workers > 1 or settings.devices:
        return Devices(named)
    return Devices([Device(cores=named[0].cores, gpus=tuple(gpu for device in named for gpu in device.gpus))])


def _planner(request: Request, first: AgentChoice) -> AgentChoice | None:
    """Who plans for the agent policy: whoever is named, else the first agent where a model stands behind it."""
    if request.planner not in (AUTO_PLANNER, RULE):
        named = _choice(request.planner, ())
        resolve.agent(named.name, named.options)
        return named if request.policy == "agent" else None
    if request.policy != "agent" or request.planner == RULE or first.name in OFFLINE:
        return None
    return first


def _choice(text: str, options: tuple[str, ...]) -> AgentChoice:
    """`name key=value ...` as it is given on the command line, with options that all agents get."""
    words = words_of("--agent", text)
    if not words:
        raise UsageError("--agent: give a name, or `name key=value ...`")
    given = tuple(_option(word) for word in (*words[1:], *options))
    # A run may be resumed from anywhere.
    folders: tuple[str, ...] = getattr(resolve.find_class("agents", words[0]), "FOLDERS", ())
    settled = ((key, str(Path(value).resolve()) if key in folders and value else value) for key, value in given)
    return AgentChoice(name=words[0], options=tuple(settled))


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--agent-option {text!r}: write it as key=value")
    # A run may be resumed from another folder.
    return key, shlex.join(absolute(words_of("command=", value))) if key == "command" else value
