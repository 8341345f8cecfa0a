"""A target's own candidates of known worth: edits of its starter, stated in the file `zoo.toml` beside it."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.validation.faults import Fault, Kind

ZOO = "zoo.toml"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edit(_Part):
    """One change of a file of the starter: `before`, which is there once, becomes `after`; "" is the file's end."""

    file: str
    before: str = ""
    after: str


class Member(_Part):
    """One candidate: what it does in words, and how the name of the check begins that must see it; "" is honest."""

    name: str
    words: str
    check: str = ""
    edits: tuple[Edit, ...] = Field(alias="edit")


class Zoo(_Part):
    """All candidates of a target."""

    member: tuple[Member, ...]


def read_zoo(path: Path) -> tuple[Member, ...]:
    """The members that a `zoo.toml` states, none where there is no such file; UsageError names the fault."""
    if not path.is_file():
        return ()
    try:
        return Zoo.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).member
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise UsageError(f"{path}: {error}") from None


def own_faults(starter: Path, into: Path) -> list[Fault]:
    """Write every member of the zoo beside a starter as a candidate below `into`."""
    return [made(member, starter, into / member.name) for member in read_zoo(starter.parent / ZOO)]


def made(member: Member, starter: Path, folder: Path) -> Fault:
    """Write one member; UsageError where an edit does not fit the starter."""
    shutil.copytree(starter, folder, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    for edit in member.edits:
        path = folder / edit.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if edit.before and text.count(edit.before) != 1:
            found = f"{text.count(edit.before)} times, not once"
            raise UsageError(f"{starter.parent / ZOO}: {member.name}: {edit.file} holds {found}: {edit.before!r}")
        path.write_text(text.replace(edit.before, edit.after) if edit.before else text + edit.after, encoding="utf-8")
    return Fault(member.name, folder, Kind(member.words, member.check))
