"""A second pair of eyes on a change: a command of the user's that reads it as data and can only ask for more."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.scan import scan
from pytest_vibeserve.source_tree import entries, is_binary
from vibeserve_loop.machine.processes import Place, run_tethered
from vibeserve_loop.records import Opinion

QUESTION = "{question}"
LONGEST_DIFF = 200_000
LONGEST_REASON = 400
TIMES = 4
"""How many times as many answers are audited where a reviewer asks for anything: as for the most suspicious source."""


def look_over(command: Sequence[str], before: Path | None, after: Path, folder: Path) -> Opinion:
    """What the reviewer says of the change between two candidates' folders, or of all of one where there is no other.

    One that fails leaves it to a person: whoever named a reviewer wants no change to go unseen.
    """
    flags = [str(flag) for flag in scan(after).flags]
    try:
        return review(command, difference(before, after), flags, folder)
    except InfrastructureError as error:
        return Opinion(ask="a person", why=str(error)[:LONGEST_REASON])


def difference(before: Path | None, after: Path) -> str:
    """The change as a unified diff; of files that are not text only that they changed."""
    old, new = _texts(before) if before else {}, _texts(after)
    parts: list[str] = []
    for name in sorted({*old, *new}):
        was, now = (texts.get(name, "").splitlines(keepends=True) for texts in (old, new))
        parts += difflib.unified_diff(was, now, f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in parts)


def _texts(folder: Path) -> dict[str, str]:
    return dict(_read(folder))


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    for entry in entries(folder):
        if entry.kind == "link":
            yield entry.name, f"a link to {os.readlink(entry.path)}\n"
        elif entry.kind == "file":
            data = entry.path.read_bytes()
            plain = not is_binary(entry.path) and b"\0" not in data
            shown = data.decode("utf-8", errors="replace") if plain else f"{len(data)} bytes that are no text\n"
            yield entry.name, shown


def review(command: Sequence[str], diff: str, flags: Sequence[str], folder: Path, timeout_s: float = 300.0) -> Opinion:
    """Ask the command; it gets a file in place of `{question}`, else as its last word, and answers on standard output.

    What is no opinion asks for a person, so that a reviewer who was talked round hides nothing; InfrastructureError
    when the command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    question = folder / "review.txt"
    write_atomically(question, _question(diff, flags))
    words = [word.replace(QUESTION, str(question)) for word in command]
    words += [] if any(QUESTION in word for word in command) else [str(question)]
    done = run_tethered(words, Place(folder, dict(os.environ), timeout_s))
    if done.timed_out or done.code != 0:
        how = f"took longer than {timeout_s:.0f} s" if done.timed_out else f"ended with {done.code}"
        raise InfrastructureError(f"the reviewer {how}: {(done.errors.strip() or 'it said nothing').splitlines()[-1]}")
    return _opinion(done.output)


def _question(diff: str, flags: Sequence[str]) -> str:
    """The instructions, and then one JSON document, out of whose strings nothing can break."""
    instructions = resources.files("vibeserve_loop").joinpath("prompts", "review.md").read_text(encoding="utf-8")
    cut = diff[:LONGEST_DIFF]
    data = {"flags": list(flags), "diff": cut, "characters_left_out": len(diff) - len(cut)}
    return f"{instructions}\n{json.dumps(data)}\n"


def _opinion(output: str) -> Opinion:
    try:
        return Opinion.model_validate_json(output.strip())
    except ValidationError:
        said = " ".join(output.split())[:200]
        return Opinion(ask="a person", why=f"the reviewer's answer is none of those it may give: {said}")
