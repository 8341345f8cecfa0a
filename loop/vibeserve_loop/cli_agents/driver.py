"""From an agent's options, all of them words, to a session of its program at the desk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.broker.link import Link, find_link
from vibeserve_loop.cli_agents.choices import Choice, choice_of, endpoints_of, fits, ready
from vibeserve_loop.cli_agents.enclosure import Walls, enclosed, walled
from vibeserve_loop.cli_agents.event_lines import KEEP_A_CAP, SETTLE_SERVERS, TAKE_SERVERS, WORDS, Ask
from vibeserve_loop.cli_agents.headless import heard
from vibeserve_loop.cli_agents.leashed import Spot
from vibeserve_loop.cli_agents.programs import Wish, environment_for
from vibeserve_loop.cli_agents.reach import Reach, reaching
from vibeserve_loop.cli_agents.talk import SERVER, Start, Talk, server_environment
from vibeserve_loop.desk.endings import Session
from vibeserve_loop.desk.equipment import equipped
from vibeserve_loop.desk.rations import cores_of
from vibeserve_loop.desk.secrecy import masked, masked_result, scrub, secrets_of
from vibeserve_loop.records import AgentResult
from vibeserve_loop.roles import Brief, Desk, Sandbox
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import price_of
from vibeserve_loop.tool_loop.session import limits_of

EXTRA = 'its library is missing: pip install "pytest-vibeserve[acp]"'

FORGETFUL = ("gemini",)
"""Programs that over the protocol begin a new session where they are asked for an old one; headless they do not."""


class ProgramAgent:
    """An agent that is a program of its own; each program has a class of its own beside the others."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        """Check the options; UsageError names what is wrong before anything is spent."""
        self._choice = choice_of(name, options)

    def ready(self) -> None:
        """UsageError when the program is not installed, or a variable that it is to get is not set."""
        ready(self._choice)

    def fits(self, sandbox: Sandbox) -> None:
        """UsageError when the program cannot be shut in as the sandbox would, or not be led to its endpoint there."""
        fits(self._choice, sandbox)

    def work(self, brief: Brief, desk: Desk) -> AgentResult:
        """One session; UsageError when the program is not installed."""
        return worked(self._choice, brief, desk)


def worked(choice: Choice, brief: Brief, desk: Desk) -> Session:
    """One session of the program; UsageError when it or the library is not installed."""
    ready(choice)
    fits(choice, desk.sandbox)
    keys = (*secrets_of(os.environ), *(os.environ.get(name, "") for name in choice.keys))
    desk, home = replace(desk, log=masked(desk.log, keys)), _home(choice, desk)
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
        command = choice.program.command
        if choice.mode == "headless":
            command = _headless(choice, desk, servers, resume, account.limits.usd)
        desk.log(f"{command[0]}; skills: {', '.join(skills) or 'none'}")
        start = Start(enclosed(command, replace(walls, reach=reach), desk), spot, choice.program.mode, resume)
        try:
            done = _carried(choice, start, brief, Talk(desk, account, link))
        finally:
            scrub(errors, keys)
    _keep(home, brief, done)
    return masked_result(done, keys)


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


def _headless(
    choice: Choice, desk: Desk, servers: Mapping[str, object], resume: str, cap: float | None
) -> tuple[str, ...]:
    """The words of a headless session; what the program cannot be given by words is said in the log."""
    told = servers if choice.name in TAKE_SERVERS else {}
    settled = choice.name in SETTLE_SERVERS and choice.home == "own"
    if servers and not told and not settled:
        desk.log(f"{choice.name} is offered no gate in headless mode: it takes no server for one session")
    usd = cap if choice.name in KEEP_A_CAP else None
    return WORDS[choice.name](Ask(desk.folder.resolve(), choice.model, usd, resume, told))


@contextlib.contextmanager
def _reach(choice: Choice, desk: Desk, home: Path) -> Iterator[Reach]:
    """Doors to what the program has to reach; where nobody knows that, it has the machine's network."""
    endpoints = endpoints_of(choice)
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
