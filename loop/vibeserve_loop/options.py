"""Options that several commands or parts share; nothing heavy is imported here."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from pytest_vibeserve.errors import UsageError


class Finite(click.FloatRange):
    """A number in a range; what is infinite or no number at all is refused: no limit is an option left out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; BadParameter, which click tells, when it is none."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is no limit; leave the option out for none", param, ctx)
        return found


class Elsewhere(click.Command):
    """A command of a module of its own, which is imported when the command is called or asked about, not before."""

    def __init__(self, name: str, module: str, text: str) -> None:
        """Take where it is; all that stands behind its name is for it."""
        words = click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)
        settings = {"ignore_unknown_options": True}
        super().__init__(
            name, settings, click.pass_context(self._called), [words], help=text, add_help_option=False
        )  # fmt: skip
        self._module, self._attribute = module, name

    def real(self) -> click.Command:
        """The command itself."""
        found: click.Command = getattr(import_module(self._module), self._attribute)
        return found

    def _called(self, ctx: click.Context, rest: tuple[str, ...]) -> object:
        return self.real().main(
            list(rest), prog_name=ctx.command_path, standalone_mode=False, default_map=ctx.default_map
        )  # fmt: skip


Command = TypeVar("Command", bound=Callable[..., Any])
MASK = "********"
SECRET = re.compile(r"key|token(?!s)|secret|password|credential|authorization", re.IGNORECASE)
SECRET_FLAG = re.compile(rf"--?[\w-]*(?:{SECRET.pattern})[\w-]*", re.IGNORECASE)
BEHIND_FLAG = re.compile(rf"(?<!\S)({SECRET_FLAG.pattern})(\s+)(?!-)(\S+)", re.IGNORECASE)
HEADER = re.compile(rf"(authorization:\s*|[\w.-]*(?:{SECRET.pattern})[\w.-]*:\s+)[^'\"]+", re.IGNORECASE)
BEARER = re.compile(r"\b(bearer\s+)[^\s'\"]+", re.IGNORECASE)
IN_URL = re.compile(r"([A-Za-z][\w+.-]*://)[^\s/@]+@")
RUNS = click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of runs.")
BUDGETS = ("max_rounds", "max_hours", "max_usd", "max_tokens")
MANY = click.IntRange(min=1)
SHARE = Finite(0, 1)
KNOBS = (
    ("--max-retries-per-round", MANY, "agent: attempts at one hypothesis.  [3]"),
    ("--max-attempts-per-issue", MANY, "plain: rounds on one issue before it is blocked.  [3]"),
    ("--max-issues-per-eval", MANY, "plain: issues that one evaluation may file.  [8]"),
    ("--patience", MANY, "agent, evolve: rounds without a gain before the search stops.  [8]"),
    ("--frontier-bias", SHARE, "evolve: chance of a parent from the Pareto front.  [0.7]"),
    ("--temperature", Finite(min=0, min_open=True), "evolve: of the softmax over parents.  [0.5]"),
    ("--top-inspirations", click.IntRange(min=0), "evolve: best others shown to the agent.  [2]"),
    ("--random-inspirations", click.IntRange(min=0), "evolve: drawn others shown to the agent.  [2]"),
    ("--islands", MANY, "evolve: populations that mix only now and then.  [1]"),
    ("--migrate-every", MANY, "evolve: rounds between migrations.  [10]"),
    ("--quick-gates", click.IntRange(min=0), "Quick gates that an agent may ask for in one session.  [8]"),
    ("--full-gates", click.IntRange(min=0), "Full gates that an agent may ask for in one session.  [1]"),
    ("--novelty", Finite(0, 1, min_open=True), "Likeness from which code counts as tried.  [1.0]"),
)


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where events go besides the screen and the run's own log; empty and off by default."""

    tracker: str = ""
    otel: bool = False


def limits(command: Command) -> Command:
    """Add the budgets."""
    command = click.option("--max-tokens", type=click.IntRange(min=0), help="Tokens of agents' models.")(command)
    command = click.option("--max-usd", type=Finite(min=0), help="Money spent on agents.")(command)
    hours = Finite(min=0, min_open=True)
    command = click.option("--max-hours", type=hours, help="Time, the final gate included.")(command)
    return click.option("--max-rounds", type=click.IntRange(min=0), help="Rounds of work that were judged.")(command)


def knobs(command: Command) -> Command:
    """Add the policies' own settings."""
    told = "evolve: METRIC[@LOAD]:max|min; the target's objectives when none is given."
    command = click.option("--objective", "objectives", multiple=True, metavar="SPEC", help=told)(command)
    for name, kind, words in reversed(KNOBS):
        command = click.option(name, type=kind, help=words)(command)
    return command


def sinks(command: Command) -> Command:
    """Add where events go."""
    command = click.option("--otel", is_flag=True, help="Export rounds as OpenTelemetry spans (extra `otel`).")(command)
    told = "Also tell wandb (or package.module with init and log) every round."
    return click.option("--tracker", default="", metavar="MODULE", help=told)(command)


def sinks_of(asked: dict[str, Any]) -> Sinks:
    """Take the options of `sinks` out of what was asked."""
    return Sinks(asked.pop("tracker"), asked.pop("otel"))


def knobs_given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The policies' settings that were given, by field name."""
    names = [name.removeprefix("--").replace("-", "_") for name, _, _ in KNOBS]
    given = {name: asked[name] for name in names if asked.get(name) is not None}
    return {**given, "objectives": tuple(asked.get("objectives", ()))}


def number(name: str, word: str, default: float | None) -> float | None:
    """An option's number; an empty word is the default; UsageError when it is none, or not above 0."""
    if not word:
        return default
    try:
        found = float(word)
    except ValueError:
        found = -1.0
    if not 0 < found < math.inf:
        raise UsageError(f"{name}={word} is no number above 0")
    return found


def path_in(word: str) -> Path | None:
    """The file or folder that a command's word names, as it is or behind `--option=`; a bare name is a file's only."""
    text = _value(word)
    if not text or "\0" in text:
        return None
    path = Path(text)
    return path if path.is_file() or ("/" in text and path.is_dir()) else None


def absolute(command: Sequence[str]) -> tuple[str, ...]:
    """The command with the paths among its words made absolute, for it is started in another folder."""
    return tuple(
        word.removesuffix(_value(word)) + os.path.abspath(_value(word))
        if (number or "/" in word) and path_in(word) is not None
        else word
        for number, word in enumerate(command)
    )


def _value(word: str) -> str:
    return word.partition("=")[2] if word.startswith("-") else word


def words_of(option: str, text: str) -> list[str]:
    """The words of an option as a shell would take them apart; UsageError when a quotation is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {str(error).lower()}; write it as a shell would take it") from None


def masked(option: str, value: object) -> object:
    """The value, without what is secret in it.

    That is all of a secret option's, the values of secret KEY=VALUE words, the word behind a secret option of a
    command, what stands in a header such as `Authorization:`, and the name and password in a URL.
    """
    if isinstance(value, (list, tuple)):
        return list(masked_words(option, [part if isinstance(part, str) else str(part) for part in value]))
    return masked_text(option, value) if isinstance(value, str) else value


def masked_words(option: str, words: Sequence[str]) -> tuple[str, ...]:
    """A command's words, or an option's several values, likewise."""
    flags = [SECRET_FLAG.fullmatch(word) is not None for word in ("", *words)]
    return tuple(
        MASK if behind and not word.startswith("-") else masked_text(option, word)
        for behind, word in zip(flags, words, strict=False)
    )


def masked_text(option: str, value: str) -> str:
    """A value that is text, likewise."""
    if SECRET.search(option):
        return MASK
    value = re.sub(r"(\S+?)=(\S+)", lambda m: f"{m[1]}={MASK}" if SECRET.search(m[1]) else m[0], value)
    value = BEHIND_FLAG.sub(rf"\1\2{MASK}", value)
    value = HEADER.sub(rf"\1{MASK}", value)
    value = BEARER.sub(rf"\1{MASK}", value)
    return IN_URL.sub(rf"\1{MASK}@", value)
