"""What is drawn: images of words from a public list where one is given, of made-up words otherwise.

`VIBESERVE_DATA_PROMPTS` names the list: a table with a header (`.tsv` as PartiPrompts has it, or `.csv`), a `.jsonl`
file of objects, or the `.json` file of COCO's captions; the words are in the field `Prompt`, `prompt` or `caption`.
Public words may be known to anybody, so each gets a fresh note at its end.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.workload import Request, Workload

PROMPTS = "VIBESERVE_DATA_PROMPTS"
FIELDS = ("Prompt", "prompt", "caption")
NOTES = 10**6

Entries = Iterator[tuple[str, Any]]


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests, with words of the list where there is one."""
    path = os.environ.get(PROMPTS)
    if path is None:
        return requests
    prompts, draws = _prompts(Path(path)), workload.draws
    return [
        replace(one, prompt_text=f"{draws.choice(prompts)}, number {draws.randrange(NOTES)}", kind="listed image")
        for one in requests
    ]


@cache
def _prompts(path: Path) -> tuple[str, ...]:
    read = READERS.get(path.suffix)
    if read is None:
        raise UsageError(f"{PROMPTS}={path}: the list must be one of {', '.join(READERS)}")
    try:
        found = tuple(_words(path, place, entry) for place, entry in read(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{PROMPTS}={path} cannot be read: {error}") from error
    if not found:
        raise UsageError(f"{PROMPTS}={path} holds no prompt")
    return found


def _words(path: Path, place: str, entry: Any) -> str:
    """The words of one entry; `place` says in the file's own terms where it is."""
    if not isinstance(entry, dict):
        raise UsageError(f"{PROMPTS}={path}, {place}: not an object with a field {' or '.join(FIELDS)}")
    named = [name for name in FIELDS if name in entry]
    if not named:
        raise UsageError(f"{PROMPTS}={path}, {place}: no field {' or '.join(FIELDS)} among {sorted(map(str, entry))}")
    words = entry[named[0]]
    if not isinstance(words, str) or not words.strip():
        raise UsageError(f"{PROMPTS}={path}, {place}: field {named[0]} holds no words: {words!r}")
    return words.strip()


def _table(separator: str) -> Callable[[Path], Entries]:
    def read(path: Path) -> Entries:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=separator, strict=separator == ",", quoting=_quoting(separator))
            for row in rows:
                yield f"line {rows.line_num}", row

    return read


def _quoting(separator: str) -> int:
    """PartiPrompts' table quotes nothing: its quotation marks are the prompts' own."""
    return csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL


def _lines(path: Path) -> Entries:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            yield f"line {number}", _parsed(path, line, number)


def _captions(path: Path) -> Entries:
    told = _parsed(path, path.read_text(encoding="utf-8"), 1)
    listed = told.get("annotations") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{PROMPTS}={path}: no list `annotations`, which COCO's captions are in")
    for number, entry in enumerate(listed):
        yield f"annotations[{number}]", entry


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{PROMPTS}={path}, line {line + error.lineno - 1}: no JSON: {error.msg}") from error


READERS: dict[str, Callable[[Path], Entries]] = {
    ".tsv": _table("\t"), ".csv": _table(","), ".jsonl": _lines, ".json": _captions,
}  # fmt: skip
