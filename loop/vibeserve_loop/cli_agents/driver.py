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
from vibeserve_loop.cli_agents.enclosure import Walls, enclosed, walled
from vibeserve_loop.cli_agents.event_lines import KEEP_A_CAP, TAKE_SERVERS, WORDS, Ask
from vibeserve_loop.cli_agents.headless import heard
from vibeserve_loop.cli_agents.leashed import Spot
from vibeserve_loop.cli_agents.programs import PROGRAMS, Program, Wish, environment_for
from vibeserve_loop.cli_agents.talk import SERVER, Start, Talk, server_environment
from vibeserve_loop.desk.endings import Session
from vibeserve_loop.desk.equipment import equipped
from vibeserve_loop.desk.rations import cores_of
from vibeserve_loop.desk.secrecy import scrub, secrets_of
from vibeserve_loop.options import words_of
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import price_of
from vibeserve_loop.tool_loop.session import Caps, caps_of, limits_of
from vibeserve_loop.walls.relay import Endpoint, endpoint_of, relayed

EXTRA = 'its library is missing: pip install "pytest-vibeserve[acp]"'

NO_CAPS = Caps()
SETTLED_BY_FILES = ("codex", "opencode")
"""Programs that are told their model and endpoint by a file of settings only."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A program and what it is to use; `home` is `own` (kept with the run) or `user`, who may be logged in.

    `mode` is `acp`, or `headless` for the program's own mode without a person.
    """

    name: str
    program: Program
    model: str = ""
    base_url: str = ""
    home: str = "own"
    mode: str = "acp"
    caps: Caps = NO_CAPS


def choice_of(name: str, options: Mapping[str, str]) -> Choice:
    """The choice that `command`, `model`, `base_url`, `home` and the caps stand for; UsageError if wrong."""
    words = dict(options)
    command = tuple(words_of("command=", words.pop("command", "")))
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
        program = replace(known, command=command)
    priced = {key: value for key, value in words.items() if key != "max_usd"}
    caps_of(model, priced)
    return Choice(name, program, model, url, home, mode, Caps(**words))


def ready(choice: Choice) -> None:
    """UsageError when the program is not installed."""
    name = choice.program.command[0] if choice.mode == "acp" else choice.name
    if shutil.which(name) is None:
        raise UsageError(f"{name} is not installed: {choice.program.install}")


def worked(choice: Choice, brief: Brief, desk: Desk) -> Session:
    """One session of the program; UsageError when it or the library is not installed."""
    program = choice.program
    ready(choice)
    home = _home(choice, desk)
    price = price_of(choice.model, choice.caps.price)
    wish = Wish(choice.model, choice.base_url, home, price, choice.home == "user")
    spot = Spot(
        desk.folder, environment_for(program, wish), home.with_name(f"{home.name}.errors.log"), cores_of(desk.sandbox)
    )
    link = find_link(desk.folder)
    others = (home, *_logins(choice), *((Path(link.address.socket).parent,) if link else ()))
    walls = Walls(desk.folder.resolve(), others, desk.readable)
    account = Account(limits_of(choice.caps), price)
    with equipped(desk.folder, brief.target) as skills, _door(choice, desk) as (door, endpoint):
        walls, resume = replace(walls, door=door, endpoint=endpoint), _left_off(home, brief)
        command = program.command if choice.mode == "acp" else _headless(choice, desk, link, resume)
        desk.log(f"{command[0]}; skills: {', '.join(skills) or 'none'}")
        start = Start(enclosed(command, walls, desk), spot, program.mode, resume)
        done = _carried(choice, start, brief, Talk(desk, account, link))
        scrub(spot.errors, secrets_of(spot.environment))
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


def _headless(choice: Choice, desk: Desk, link: Link | None, resume: str) -> tuple[str, ...]:
    """The words of a headless session; what the program cannot be given by words is said in the log."""
    servers: dict[str, object] = {}
    if link is not None and choice.name in TAKE_SERVERS:
        servers["vibeserve"] = {"command": sys.executable, "args": list(SERVER), "env": server_environment(link)}
    elif link is not None:
        desk.log(f"{choice.name} is offered no gate in headless mode: it takes no server for one session")
    usd = limits_of(choice.caps).usd if choice.name in KEEP_A_CAP else None
    return WORDS[choice.name](Ask(desk.folder.resolve(), choice.model, usd, resume, servers))


@contextlib.contextmanager
def _door(choice: Choice, desk: Desk) -> Iterator[tuple[Path | None, Endpoint | None]]:
    """A door to the model for an endpoint of this machine; a provider's own is reached over the machine's network."""
    found = endpoint_of(choice.base_url) if choice.base_url else None
    if found is None or not found.is_here or not walled(desk):
        yield None, None
        return
    with relayed(found) as door:
        yield door, found


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
