"""Candidates made from a target's starter by checked edits of its source."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SKILLS = Path(__file__).resolve().parents[1] / "skills"

LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")
OPTIONS = "    options = parser.parse_args()\n"
ONE_THREAD = ("server.py", OPTIONS, OPTIONS + "    import torch\n\n    torch.set_num_threads(1)\n")
"""Two servers are judged at a time, and threads of a model this small wait for each other most of the time."""


def edited(starter: Path, into: Path, *edits: tuple[str, str, str]) -> None:
    """Copy the starter and replace (file, before, after); ValueError where `before` is not there exactly once."""
    shutil.copytree(starter, into, ignore=LEFT_OUT)
    altered(into, ONE_THREAD, *edits)


def improved(starter: Path, into: Path, *techniques: str) -> None:
    """Copy the starter and apply recipes, each `skill` or `skill:variant`; CalledProcessError when one refuses."""
    shutil.copytree(starter, into, ignore=LEFT_OUT)
    for technique in techniques:
        skill, _, variant = technique.partition(":")
        recipe = [sys.executable, "-I", "-B", str(SKILLS / skill / "scripts" / "recipe.py"), str(into)]
        subprocess.run([*recipe, *(["--variant", variant] if variant else [])], check=True, capture_output=True)
    altered(into, ONE_THREAD)


def altered(into: Path, *edits: tuple[str, str, str]) -> None:
    """Replace (file, before, after) in a candidate; ValueError where `before` is not there exactly once."""
    for file, before, after in edits:
        path = into / file
        text = path.read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise ValueError(f"{file} of the starter holds {text.count(before)} times, not once: {before!r}")
        path.write_text(text.replace(before, after), encoding="utf-8")
