"""Begin a target: a copy of one that works, under another name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import find
from pytest_vibeserve.target import TARGET_FILE, load_target

TEMPLATE = "tiny_llama"
TEXT = (".toml", ".md", ".py")


def scaffold(name: str, shelf: Path, like: str = TEMPLATE) -> Path:
    """Make `shelf/name` like another target, by name or path; UsageError when a name will not do or is taken.

    The other's README.md stays behind: what was found out about it was not found out about this one.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        wanted = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "my_target"
        raise UsageError(f"{name!r} is no snake_case name; type for example {wanted}")
    folder = shelf / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; give another name")
    template = find("targets", like, TARGET_FILE)
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (folder / "README.md").unlink(missing_ok=True)
    stated = load_target(str(folder.resolve())).name
    for path in sorted(folder.rglob("*")):
        if path.suffix in TEXT and path.is_file():
            text = path.read_text(encoding="utf-8")
            path.write_text(_renamed(text, stated, name, path.name == TARGET_FILE), encoding="utf-8")
    load_target(str(folder.resolve()))
    return folder


def _renamed(text: str, before: str, after: str, is_target: bool) -> str:
    """The text about another target; a name of one word may mean anything, and is changed where it is stated alone."""
    if "_" in before:
        return re.sub(rf"(?<!\w){re.escape(before)}(?!\w)", after, text)
    stated = (
        rf"(?m)^(name\s*=\s*)([\"']){re.escape(before)}\2" if is_target else rf"(?m)\A(#\s+)(){re.escape(before)}\b"
    )
    return re.sub(stated, rf"\g<1>\g<2>{after}\g<2>", text, count=1)


def first_profile(folder: Path) -> str:
    """The profile to begin with: `tiny` where the target asks for a machine of its own, else the full one."""
    return "full" if load_target(str(folder.resolve())).hardware.backend == "cpu" else "tiny"
