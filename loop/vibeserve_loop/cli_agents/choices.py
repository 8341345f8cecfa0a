"""What an agent that is a program was asked to be: from its options, all of them words, to a choice that is checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.enclosure import NONE, check_walls
from vibeserve_loop.cli_agents.event_lines import WORDS
from vibeserve_loop.cli_agents.programs import PROGRAMS, Program
from vibeserve_loop.cli_agents.reach import ANY, TLS, check_doors, endpoints_named
from vibeserve_loop.desk.rations import kind_of
from vibeserve_loop.foreign import require
from vibeserve_loop.options import absolute, words_of
from vibeserve_loop.roles import Sandbox
from vibeserve_loop.tool_loop.session import Caps, caps_of
from vibeserve_loop.walls.relay import Endpoint, endpoint_of

NO_CAPS = Caps()
SETTLED_BY_FILES = ("codex", "opencode")
"""Programs that are told their model and endpoint by a file of settings only."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A program and what it is to use; `home` is `own` (kept with the run) or `user`, who may be logged in.

    `mode` is `acp`, or `headless` for the program's own mode without a person; `endpoints` are further ones to reach,
    `keys` are variables that it gets besides its provider's.
    """

    name: str
    program: Program
    model: str = ""
    base_url: str = ""
    home: str = "own"
    mode: str = "acp"
    endpoints: str = ""
    keys: tuple[str, ...] = ()
    caps: Caps = NO_CAPS


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
    keys = tuple(key.strip() for key in words.pop("keys", "").split(",") if key.strip())
    program = replace(program, keys=(*program.keys, *keys))
    if command and known:
        program = replace(program, command=command)
    endpoints = words.pop("endpoints", "")
    endpoints_named(f"{endpoints},{url}" if url else endpoints)
    priced = {key: value for key, value in words.items() if key != "max_usd"}
    caps_of(model, priced)
    return Choice(name, program, model, url, home, mode, endpoints, keys, Caps(**words))


def ready(choice: Choice) -> None:
    """UsageError when the program or the protocol's library is not installed, or a variable of its is not set."""
    missing = [key for key in choice.keys if not os.environ.get(key)]
    if missing:
        raise UsageError(f"{missing[0]} is not set: put it in the environment, or leave it out of keys=")
    name = choice.program.command[0] if choice.mode == "acp" else choice.name
    if shutil.which(name) is None:
        raise UsageError(f"{name} is not installed: {choice.program.install}")
    if choice.mode == "acp":
        require(f"agent {choice.name}", "acp", "acp")


def fits(choice: Choice, sandbox: Sandbox) -> None:
    """UsageError when the program cannot be shut in as the sandbox would, or not be led to its endpoint there."""
    check_walls(choice.name, sandbox)
    if kind_of(sandbox) != NONE:
        check_doors(endpoints_of(choice))


def endpoints_of(choice: Choice) -> tuple[Endpoint, ...]:
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
