"""What an agent finds in its workspace beside the code: skills and standing words, where each agent looks for them.

All of it is taken away again before the code is committed, so that it is never part of what is judged.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from pytest_vibeserve.library import entries
from pytest_vibeserve.target import Target
from vibeserve_loop.skills import SKILL_FILE, read_facts

SKILLS = Path(".agents", "skills")
# Measured with the programs themselves: only these places reach all of them, and only a flat list of skills does.
NAMES = (".agents", ".claude", "AGENTS.md", "CLAUDE.md", "GEMINI.md")
POINTER = "@AGENTS.md\n"


@contextmanager
def equipped(folder: Path, target: Target) -> Iterator[tuple[str, ...]]:
    """The names of the skills that lie in the folder while this lasts; what lay in their places comes back after it."""
    with tempfile.TemporaryDirectory() as aside:
        for name in NAMES:
            if _there(folder / name):
                shutil.move(folder / name, Path(aside, name))
        try:
            yield _equip(folder, target)
        finally:
            for name in NAMES:
                _remove(folder / name)
                if _there(Path(aside, name)):
                    shutil.move(Path(aside, name), folder / name)


def instructions() -> str:
    """The standing words for every agent that edits code."""
    return (files("vibeserve_loop") / "prompts" / "implementer.md").read_text(encoding="utf-8")


def skills_for(target: Target) -> dict[str, Path]:
    """Name and folder of each skill that fits the target; one that names no modality or backend fits every target."""
    found = {}
    for name, folder in sorted(entries("skills", SKILL_FILE).items()):
        facts = read_facts(folder / SKILL_FILE)
        wanted = ((facts.get("modality", ""), target.modality), (facts.get("backend", ""), target.hardware.backend))
        if all(not words or value in words.replace(",", " ").split() for words, value in wanted):
            found[name] = folder
    return found


def _equip(folder: Path, target: Target) -> tuple[str, ...]:
    found = skills_for(target)
    (folder / SKILLS).mkdir(parents=True)
    for name, source in found.items():
        shutil.copytree(source, folder / SKILLS / name, ignore=shutil.ignore_patterns("__pycache__", ".git"))
    (folder / ".claude").mkdir()
    (folder / ".claude" / "skills").symlink_to(Path("..") / SKILLS)
    (folder / "AGENTS.md").write_text(instructions(), encoding="utf-8")
    for name in ("CLAUDE.md", "GEMINI.md"):
        (folder / name).write_text(POINTER, encoding="utf-8")
    return tuple(found)


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif _there(path):
        path.unlink()
