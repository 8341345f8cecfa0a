"""Where the values of options come from: flags over the environment over `.env` over `vibeserve.toml`.

Every option of a command `run` is called `run.max-hours` here: `max-hours` under `[run]` in vibeserve.toml, and
VIBESERVE_RUN_MAX_HOURS in `.env` and the environment, where several values are separated by `;`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.options import MASK, Elsewhere, masked

FILE, DOTENV, PREFIX = "vibeserve.toml", ".env", "VIBESERVE_"
KNOWN = ("CACHE", "REFERENCE_DEVICE", "PROFILE", "BROKER", "BROKER_TOKEN", "URL")
"""What else reads such variables: the weights' cache, the reference, the profiler, a session's broker, tests."""
DATA_SETS = "DATA_"
JOINED = "vibeserve.joined"
LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value for one option of one command, and where it was found."""

    command: str
    option: str
    value: object
    origin: str


def configure(ctx: click.Context, folder: Path) -> None:
    """Give the commands below the values that were found; other names of `.env` join the environment."""
    group = ctx.command
    assert isinstance(group, click.Group)
    joined = ctx.meta.setdefault(JOINED, set())
    for name, value in _dotenv(folder / DOTENV).items():
        if not _of_a_command(group, name) and name not in os.environ:
            os.environ[name] = value
            joined.add(name)
    table: dict[str, dict[str, object]] = {}
    for setting in settings(group, folder, os.environ):
        option = options_of(group, setting.command)[setting.option]
        table.setdefault(setting.command, {})[str(option.name)] = setting.value
    ctx.default_map = table


def settings(group: click.Group, folder: Path, environment: Mapping[str, str]) -> Iterator[Setting]:
    """Every value that was found, the weakest source first; UsageError for a name that no option has."""
    if (folder / FILE).is_file():
        yield from _from_file(group, folder / FILE)
    yield from _from_names(group, _dotenv(folder / DOTENV), DOTENV)
    yield from _from_names(group, environment, "environment")


def options_of(group: click.Group, command: str) -> dict[str, click.Option]:
    """A command's options by their long names, without the dashes."""
    told = group.commands[command]
    real = told.real() if isinstance(told, Elsewhere) else told
    found = [parameter for parameter in real.params if isinstance(parameter, click.Option)]
    return {max(option.opts, key=len).lstrip("-"): option for option in found}


def show(
    group: click.Group, folder: Path, environment: Mapping[str, str], joined: Collection[str] = ()
) -> list[Setting]:
    """What holds for every option of `run`, and for each option of another command that was set; secrets masked.

    `joined` are the names that the environment got from `.env`; of all others in both the environment's value holds.
    """
    found = {(s.command, s.option): s for s in settings(group, folder, environment)}
    for name, option in options_of(group, "run").items():
        found.setdefault(("run", name), Setting("run", name, _default(option), "default"))
    shown_settings = [Setting(s.command, s.option, masked(s.option, s.value), s.origin) for s in found.values()]
    names = [name for name in _dotenv(folder / DOTENV) if not _of_a_command(group, name)]
    others = [
        Setting("environment", name, MASK, DOTENV if name in joined else "environment")
        for name in names if environment.get(name) is not None
    ]  # fmt: skip
    return sorted([*shown_settings, *others], key=lambda s: (s.command != "run", s.command, s.option))


def _from_file(group: click.Group, path: Path) -> Iterator[Setting]:
    import tomllib

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    for command, values in table.items():
        _check(command, _commands(group), f"{path.name}: no command is called {command!r}")
        if not isinstance(values, dict):
            raise UsageError(f"{path.name}: {command}: write a table, [{command}]")
        known = options_of(group, command)
        for key, value in values.items():
            name = key.replace("_", "-")
            _check(name, known, f"{path.name}: [{command}] has no {key!r}")
            yield Setting(command, name, _listed(known[name], value), path.name)


def _from_names(group: click.Group, names: Mapping[str, str], origin: str) -> Iterator[Setting]:
    for name in names:
        if name.startswith(PREFIX) and not _of_a_command(group, name):
            _check_meant(group, name, origin)
    for command in _commands(group):
        known = options_of(group, command)
        begin = f"{PREFIX}{command.upper()}_"
        for name in sorted(n for n in names if n.startswith(begin)):
            option = name.removeprefix(begin).lower().replace("_", "-")
            spelt = {f"{begin}{other.upper().replace('-', '_')}": other for other in known}
            _check(name, spelt, f"{origin}: {name} sets nothing")
            words: object = names[name].split(";") if known[option].multiple else names[name]
            yield Setting(command, option, words, origin)


def _commands(group: click.Group) -> list[str]:
    return [name for name, command in group.commands.items() if not isinstance(command, click.Group)]


def _of_a_command(group: click.Group, name: str) -> bool:
    return any(name.startswith(f"{PREFIX}{command.upper()}_") for command in _commands(group))


def _check_meant(group: click.Group, name: str, origin: str) -> None:
    """UsageError for a name that sets nothing: the nearest is offered, which may be an option of any command."""
    rest = name.removeprefix(PREFIX)
    if rest in KNOWN or (rest.startswith(DATA_SETS) and rest != DATA_SETS):
        return
    known = [f"{PREFIX}{word}" for word in KNOWN]
    options = {
        f"{PREFIX}{command.upper()}_{words}": words for command in _commands(group)
        for words in (option.upper().replace("-", "_") for option in options_of(group, command))
    }  # fmt: skip
    meant = [whole for whole, words in options.items() if f"_{rest}".endswith(f"_{words}")]
    from pytest_vibeserve.library import nearest

    raise UsageError(f"{origin}: {name} sets nothing; {nearest(name, meant or [*known, *options])}")


def _check(name: str, known: Mapping[str, Any] | list[str], said: str) -> None:
    if name not in known:
        from pytest_vibeserve.library import nearest

        raise UsageError(f"{said}; {nearest(name, known)}")


def _default(option: click.Option) -> object:
    """The default as words; None where there is none, which click says with a mark of its own."""
    default = option.default
    if isinstance(default, Path):
        return str(default)
    return default if isinstance(default, (str, int, float, list, tuple)) else None


def _listed(option: click.Option, value: object) -> object:
    return [value] if option.multiple and not isinstance(value, list) else value


def _dotenv(path: Path) -> dict[str, str]:
    """NAME=VALUE lines; quotes around a value are taken off, lines that begin with # are passed over."""
    if not path.is_file():
        return {}
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.fullmatch(text)
        if match is None:
            raise UsageError(f"{path.name}:{number}: write NAME=VALUE")
        value = match[2]
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[match[1]] = value[1:-1] if quoted else value.split(" #", 1)[0].rstrip()
    return found
