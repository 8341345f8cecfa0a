"""Techniques that are known: skills whose folder holds a recipe, a program that applies them to a candidate's code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import entries
from pytest_vibeserve.target import Target

SKILL_FILE = "SKILL.md"


@dataclass(frozen=True, slots=True)
class Technique:
    """One way to apply one skill; `requires` names skills, `relieves` names the gate's hints."""

    skill: str
    variant: str
    folder: Path
    recipe: Path
    requires: tuple[str, ...]
    relieves: tuple[str, ...]

    @property
    def name(self) -> str:
        """The skill's name, with the variant where there are several."""
        return f"{self.skill}:{self.variant}" if self.variant else self.skill


def techniques_for(target: Target) -> tuple[Technique, ...]:
    """Every technique that a recipe can apply to this kind of target, by name."""
    found: list[Technique] = []
    for name, folder in sorted(entries("skills", SKILL_FILE).items()):
        facts = read_facts(folder / SKILL_FILE)
        if facts.get("recipe") and _fits(facts, target):
            found += _techniques(name, folder, facts)
    return tuple(found)


def read_facts(path: Path) -> Mapping[str, str]:
    """The front matter of a skill: its own keys and those of its `metadata` block in one table of strings."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        raise UsageError(f"{path} has no front matter: begin it with `---`, `name:` and `description:`")
    facts: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, colon, value = line.partition(":")
        if colon and not line.lstrip().startswith("#"):
            facts[key.strip()] = value.strip().strip("\"'")
    return facts


def _fits(facts: Mapping[str, str], target: Target) -> bool:
    return target.modality in _words(facts, "modality") and target.hardware.backend in _words(facts, "backend")


def _techniques(name: str, folder: Path, facts: Mapping[str, str]) -> list[Technique]:
    recipe = folder / facts["recipe"]
    if not recipe.is_file():
        raise UsageError(f"{folder / SKILL_FILE} names a recipe that is not there: {recipe}")
    requires, relieves = _words(facts, "requires"), _words(facts, "relieves")
    variants = _words(facts, "variants") or ("",)
    return [Technique(name, variant, folder, recipe, requires, relieves) for variant in variants]


def _words(facts: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(facts.get(key, "").replace(",", " ").split())
