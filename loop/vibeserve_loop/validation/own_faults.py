"""A target's own candidates of known worth: recipes and edits of its starter, stated in `zoo.toml` beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import find, nearest
from pytest_vibeserve.mistakes import reasons
from vibeserve_loop.skills import SKILL_FILE, read_facts
from vibeserve_loop.validation.faults import Fault, Kind

ZOO = "zoo.toml"
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".git")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edit(_Part):
    """One change of a file of the starter: `before`, which is there once, becomes `after`; "" is the file's end."""

    file: str = Field(description="path in the starter's folder")
    before: str = Field(default="", description="what is there once")
    after: str = Field(description="what it becomes")


class Member(_Part):
    """One candidate: what it does in words, and how the name of the check begins that must see it (or any of several).

    Without a check it is honest.  It is the starter with the files of `folder` (beside the zoo) laid over it, then with
    `recipes` applied, each `skill` or `skill:variant`, and then with its edits; `group` is the kind of cheat.
    """

    name: str = Field(description="what it is called")
    words: str = Field(description="what a server like it does, in words")
    check: tuple[str, ...] = ()
    group: str = ""
    folder: str = ""
    recipes: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = Field(default=(), alias="edit")

    @field_validator("check", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return ((given,) if given else ()) if isinstance(given, str) else given


class Zoo(_Part):
    """All candidates of a target."""

    member: tuple[Member, ...]


def read_zoo(path: Path) -> tuple[Member, ...]:
    """The members that a `zoo.toml` states, none where there is no such file; UsageError names the fault."""
    if not path.is_file():
        return ()
    try:
        members = Zoo.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).member
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{path}: {reasons(error, Zoo)}") from None
    names = [member.name for member in members]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{path}: two members are called {min(twice)}; give each a name of its own")
    return members


def own_faults(starter: Path, into: Path) -> list[Fault]:
    """Write every member of the zoo beside a starter as a candidate below `into`."""
    return [made(member, starter, into / member.name) for member in read_zoo(starter.parent / ZOO)]


def made(member: Member, starter: Path, folder: Path) -> Fault:
    """Write one member; UsageError where a recipe or an edit does not fit the starter."""
    zoo = starter.parent / ZOO
    shutil.copytree(starter, folder, ignore=LEFT_OUT)
    if member.folder:
        if not (zoo.parent / member.folder).is_dir():
            raise UsageError(f"{zoo}: {member.name}: folder: {zoo.parent / member.folder} is not there")
        shutil.copytree(zoo.parent / member.folder, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    for technique in member.recipes:
        _apply(technique, folder, f"{zoo}: {member.name}")
    for edit in member.edits:
        path = folder / edit.file
        if edit.before and not path.is_file():
            there = sorted(str(found.relative_to(folder)) for found in folder.rglob("*") if found.is_file())
            raise UsageError(f"{zoo}: {member.name}: there is no {edit.file} to edit; {nearest(edit.file, there)}")
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if edit.before and text.count(edit.before) != 1:
            found = f"{text.count(edit.before)} times, not once"
            told = "change `before` to words that are in it once"
            raise UsageError(f"{zoo}: {member.name}: {edit.file} holds {found}: {edit.before!r}; {told}")
        path.write_text(text.replace(edit.before, edit.after) if edit.before else text + edit.after, encoding="utf-8")
    return Fault(member.name, folder, Kind(member.words, member.check))


def sources(starter: Path) -> list[Path]:
    """What the members are made from beside the starter: the zoo, the folders laid over it, the skills applied."""
    zoo = starter.parent / ZOO
    members = read_zoo(zoo)
    skills = {name.partition(":")[0] for member in members for name in member.recipes}
    folders = [zoo.parent / member.folder for member in members if member.folder]
    folders += [find("skills", name, SKILL_FILE) for name in sorted(skills)]
    return [*([zoo] if zoo.is_file() else []), *folders]


def _apply(technique: str, folder: Path, where: str) -> None:
    name, _, variant = technique.partition(":")
    skill = find("skills", name, SKILL_FILE)
    recipe = skill / (read_facts(skill / SKILL_FILE).get("recipe") or "scripts/recipe.py")
    command = [sys.executable, "-I", "-B", str(recipe), str(folder), *(["--variant", variant] if variant else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{where}: the recipe {technique} does not fit: {(done.stderr or done.stdout).strip()}")
