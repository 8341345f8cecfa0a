"""From an agent's options, all of them words, to a session of its program at the desk."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.broker.link import Link, find_link
from vibeserve_loop.cli_agents.enclosure import NONE, Walls, check_walls, enclosed, walled
from vibeserve_loop.cli_agents.event_lines import KEEP_A_CAP, SETTLE_SERVERS, TAKE_SERVERS, WORDS, Ask
from vibeserve_loop.cli_agents.headless import heard
from vibeserve_loop.cli_agents.leashed import Spot
from vibeserve_loop.cli_agents.programs import PROGRAMS, Program, Wish, environment_for
from vibeserve_loop.cli_agents.reach import ANY, TLS, Reach, check_doors, endpoints_named, reaching
from vibeserve_loop.cli_agents.talk import SERVER, Start, Talk, server_environment
from vibeserve_loop.desk.endings import Session
from vibeserve_loop.desk.equipment import equipped
from vibeserve_loop.desk.rations import cores_of, kind_of
from vibeserve_loop.desk.secrecy import scrub, secrets_of
from vibeserve_loop.options import absolute, words_of
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk, Sandbox
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import price_of
from vibeserve_loop.tool_loop.session import Caps, caps_of, limits_of
from vibeserve_loop.walls.relay import Endpoint, endpoint_of

EXTRA = 'its library is missing: pip install "pytest-vibeserve[acp]"'

NO_CAPS = Caps()
SETTLED_BY_FILES = ("codex", "opencode")
"""Programs that are told their model and endpoint by a file of settings only."""
FORGETFUL = ("gemini",)
"""Programs that over the protocol begin a new session where they are asked for an old one; headless they do not."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A program and what it is to use; `home` is `own` (kept with the run) or `user`, who may be logged in.

    `mode` is `acp`, or `headless` for the program's own mode without a person; `endpoints` are further ones to reach.
    """

    name: str
    program: Program
    model: str = ""
    base_url: str = ""
    home: str = "own"
    mode: str = "acp"
    endpoints: str = ""
    caps: Caps = NO_CAPS


class ProgramAgent:
    """An agent that is a program of its own; each program has a class of its own beside the others."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        self._choice = choice_of(name, options)

    def ready(self) -> None:
        """UsageError when the program or one of its keys is not there."""
        ready(self._choice)

    def fits(self, sandbox: Sandbox) -> None:
        """UsageError when the program cannot be shut in as the sandbox would, or not be led to its endpoint there."""
        fits(self._choice, sandbox)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the program is not installed."""
        return worked(self._choice, brief, desk)


def choice_of(name: str, options: Mapping[str, str]) -> Choice:
    """The choice that `command`, `model`, `base_url`, `home`, `keys` and the caps stand for; UsageError if wrong."""
    words = dict(options)
    command = absolute(words_of("command=", words.pop("command", "")))
    model, url, home = words.pop("model", ""), words.pop("base_url", "").rstrip("/"), words.pop("home", "own")
    if home not in ("own", "user"):
        raise UsageError(f"home={home} is neither own nor user")
    if home == "user" and name in SETTLED_BY_FILES and (model or url):
        raise UsageError(f"home=user leaves {name}'s own settings alone: name the model there, or leave home out")
    mode = words.pop("mode", "acp")
    if mode not in ("acp", "headless") or (mode == "headless" and name not in WORDS):
        raise UsageError(f"mode={mode}: acp, or headless for {', '.join(WORDS)}")
    known = PROGRAMS.get(name)
    if known is None and not command:
        raise UsageError("give command='PROGRAM WORDS' of a program that speaks the Agent Client Protocol")
    program = known or Program(command, "install it")
    program = replace(program, keys=(*program.keys, *filter(None, words.pop("keys", "").split(","))))
    if command and known:
        program = replace(program, command=command)
    endpoints = words.pop("endpoints", "")
    endpoints_named(f"{endpoints},{url}" if url else endpoints)
    priced = {key: value for key, value in words.items() if key != "max_usd"}
    caps_of(model, priced)
    return Choice(name, program, model, url, home, mode, endpoints, Caps(**words))


def ready(choice: Choice) -> None:
    """UsageError when the program is not installed."""
    name = choice.program.command[0] if choice.mode == "acp" else choice.name
    if shutil.which(name) is None:
        raise UsageError(f"{name} is not installed: {choice.program.install}")


def fits(choice: Choice, sandbox: Sandbox) -> None:
    """UsageError when the program cannot be shut in as the sandbox would, or not be led to its endpoint there."""
    check_walls(choice.name, sandbox)
    if kind_of(sandbox) != NONE:
        check_doors(_endpoints(choice))


def worked(choice: Choice, brief: Brief, desk: Desk) -> Session:
    """One session of the program; UsageError when it or the library is not installed."""
    ready(choice)
    fits(choice, desk.sandbox)
    home = _home(choice, desk)
    resume = _left_off(home, brief)
    if resume and choice.name in FORGETFUL and shutil.which(choice.name):
        choice = replace(choice, mode="headless")
        desk.log(f"{choice.name} takes up session {resume} without the protocol")
    link, price = find_link(desk.folder), price_of(choice.model, choice.caps.price)
    servers = _servers(link) if choice.mode == "headless" else {}
    wish = Wish(choice.model, choice.base_url, home, price, choice.home == "user", servers)
    errors = home.with_name(f"{home.name}.errors.log")
    spot = Spot(desk.folder, environment_for(choice.program, wish), errors, cores_of(desk.sandbox))
    others = (home, *_logins(choice), *((Path(link.address.socket).parent,) if link else ()))
    walls = Walls(desk.folder.resolve(), _nothing(home), others, desk.readable)
    account = Account(limits_of(choice.caps), price)
    with equipped(desk.folder, brief.target) as skills, _reach(choice, desk, home) as reach:
        command = choice.program.command if choice.mode == "acp" else _headless(choice, desk, servers, resume)
        desk.log(f"{command[0]}; skills: {', '.join(skills) or 'none'}")
        start = Start(enclosed(command, replace(walls, reach=reach), desk), spot, choice.program.mode, resume)
        try:
            done = _carried(choice, start, brief, Talk(desk, account, link))
        finally:
            scrub(errors, secrets_of(spot.environment))
    _keep(home, brief, done)
    return done


def _carried(choice: Choice, start: Start, brief: Brief, talk: Talk) -> Session:
    if choice.mode == "headless":
        return heard(choice.name, start, brief, talk)
    try:
        from vibeserve_loop.cli_agents.session import spoken
    except ImportError as error:
        raise UsageError(f"agent {choice.name}: {EXTRA} ({error})") from None
    return spoken(start, brief, talk)


def _servers(link: Link | None) -> dict[str, object]:
    """The gate's server, as programs take it by words or settings."""
    if link is None:
        return {}
    return {"vibeserve": {"command": sys.executable, "args": list(SERVER), "env": server_environment(link)}}


def _headless(choice: Choice, desk: Desk, servers: Mapping[str, object], resume: str) -> tuple[str, ...]:
    """The words of a headless session; what the program cannot be given by words is said in the log."""
    told = servers if choice.name in TAKE_SERVERS else {}
    settled = choice.name in SETTLE_SERVERS and choice.home == "own"
    if servers and not told and not settled:
        desk.log(f"{choice.name} is offered no gate in headless mode: it takes no server for one session")
    usd = limits_of(choice.caps).usd if choice.name in KEEP_A_CAP else None
    return WORDS[choice.name](Ask(desk.folder.resolve(), choice.model, usd, resume, told))


def _endpoints(choice: Choice) -> tuple[Endpoint, ...]:
    """What the program has to reach: what is named, else where its provider answers; none where nobody knows it."""
    named = endpoints_named(choice.endpoints)
    if choice.endpoints.strip() == ANY:
        return ()
    if choice.base_url:
        return (endpoint_of(choice.base_url), *named)
    program, logged_in = choice.program, choice.home == "user"
    if not program.hosts or (logged_in and not program.login_hosts):
        return named
    hosts = (*program.hosts, *(program.login_hosts if logged_in else ()))
    return (*(Endpoint(host, TLS) for host in hosts), *named)


@contextlib.contextmanager
def _reach(choice: Choice, desk: Desk, home: Path) -> Iterator[Reach]:
    """Doors to what the program has to reach; where nobody knows that, it has the machine's network."""
    endpoints = _endpoints(choice)
    if not endpoints or not walled(desk):
        yield Reach()
        return
    with reaching(endpoints, home.with_name(f"{home.name}.hosts")) as found:
        yield found


def _nothing(home: Path) -> Path:
    found = home.with_name("nothing")
    found.touch()
    return found


def _home(choice: Choice, desk: Desk) -> Path:
    """A folder that the program may write to; what the loop keeps of its sessions lies beside it, out of its reach."""
    found = desk.folder.resolve().parent / "homes" / choice.name
    found.mkdir(parents=True, exist_ok=True)
    return found


def _logins(choice: Choice) -> tuple[Path, ...]:
    """What of the user's own home the program gets to see."""
    if choice.home != "user":
        return ()
    home = Path.home()
    found = [home / name for name in choice.program.logins if (home / name).exists()]
    return tuple(found) if choice.program.logins else (home,)


def _left_off(home: Path, brief: Brief) -> str:
    """The session that worked on this hypothesis before, when this is another attempt at it; else ""."""
    file = _session_file(home)
    if brief.task.attempt < 2 or not file.is_file():
        return ""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return str(kept["session"]) if kept["hypothesis"] == brief.task.hypothesis else ""


def _keep(home: Path, brief: Brief, done: Session) -> None:
    if done.session and not done.failed:
        kept = {"session": done.session, "hypothesis": brief.task.hypothesis}
        write_atomically(_session_file(home), json.dumps(kept) + "\n")


def _session_file(home: Path) -> Path:
    return home.with_name(f"{home.name}.session.json")
