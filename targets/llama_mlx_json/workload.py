"""What is asked of llama_mlx_json: chats under schemas of a public set where one is given, under made-up ones else.

`VIBESERVE_DATA_SCHEMAS` names JSONSchemaBench or a set of its layout: a `.jsonl` or `.parquet` file, or a folder of
such files, whose rows have `json_schema` (an object, or its text) and `unique_id`.  Half of the constrained chats
then keep a schema of the set, narrowed to what has an end (`pytest_vibeserve.modalities.chat.bounded`); what cannot be
narrowed is counted and named once.  Public schemas are known to anybody; what is said of each request is not.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.chat.bounded import Bounded, Unbounded, bounded, task_of
from pytest_vibeserve.modalities.chat.requests import ChatWorkload
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.workload import Request, Vocabulary, Workload

SCHEMAS = "VIBESERVE_DATA_SCHEMAS"
EXCHANGED = {"json", "schema twin"}
"""The kinds of constrained chats whose schema is one of the set: a schema first, and then it again with other facts."""


@dataclass(frozen=True, slots=True)
class Read:
    """The schemas of a set that can be asked for, and by what the others were in the way: keyword to count."""

    kept: tuple[Bounded, ...]
    skipped: Counter[str]

    @property
    def words(self) -> str:
        """What became of the set, in one sentence."""
        named = ", ".join(f"{name} {count}" for name, count in self.skipped.most_common())
        total = len(self.kept) + sum(self.skipped.values())
        return f"{len(self.kept)} of {total} schemas are asked for; the others are skipped ({named or 'none'})"


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests, of which some keep a schema of the set where there is one; each schema is asked for twice."""
    path = os.environ.get(SCHEMAS)
    if path is None:
        return requests
    read, draws = read_schemas(Path(path)), workload.draws
    chats = ChatWorkload(workload.target, workload.vocabulary, _template(workload.vocabulary.model), draws)
    found, given, left = [], draws.choice(read.kept), 2
    for one in requests:
        if isinstance(one, ChatRequest) and one.kind in EXCHANGED:
            given, left = (given, left - 1) if left else (draws.choice(read.kept), 1)
            made = chats.of_task(task_of(given, draws), f"public {one.kind}", "")
            one = replace(made, id=one.id, stream=one.stream, temperature=one.temperature)
        found.append(one)
    return found


@cache
def read_schemas(path: Path) -> Read:
    """The schemas of a file or folder; UsageError names the file, the row and the field that is wrong."""
    files = sorted(one for ending in READERS for one in path.rglob(f"*{ending}")) if path.is_dir() else [path]
    unknown = [file for file in files if file.suffix not in READERS]
    if unknown or not files:
        raise UsageError(f"{SCHEMAS}={path}: a {' or '.join(READERS)} file is asked for, or a folder of such files")
    kept, skipped = list[Bounded](), Counter[str]()
    for file in files:
        for place, row in _rows(file):
            try:
                kept.append(bounded(_schema(f"{SCHEMAS}: {file}, {place}", row)))
            except Unbounded as reason:
                skipped[str(reason)] += 1
    read = Read(tuple(kept), skipped)
    if not kept:
        raise UsageError(f"{SCHEMAS}={path}: {read.words}")
    logging.getLogger(__name__).warning("%s=%s: %s", SCHEMAS, path, read.words)
    return read


def _schema(where: str, row: Any) -> Any:
    """The schema of one row."""
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not an object with fields json_schema and unique_id")
    if not isinstance(row.get("unique_id"), str) or not row["unique_id"]:
        raise UsageError(f"{where}: field unique_id is {'missing' if 'unique_id' not in row else 'no text'}")
    if "json_schema" not in row:
        raise UsageError(f"{where}: field json_schema is missing")
    given = row["json_schema"]
    try:
        found = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise UsageError(f"{where}: field json_schema is no JSON: {error}") from error
    if not isinstance(found, dict | bool):
        raise UsageError(f"{where}: field json_schema is no schema, found {str(given)[:60]!r}")
    return found


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        yield from READERS[path.suffix](path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{SCHEMAS}={path} cannot be read: {error}") from error


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except ValueError as error:
                raise UsageError(f"{SCHEMAS}: {path}, line {number}: no JSON: {error}") from error


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UsageError(f"{SCHEMAS}={path}: reading it needs pyarrow: pip install pyarrow") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except ArrowException as error:
        raise UsageError(f"{SCHEMAS}={path} is no parquet file: {error}") from error
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row


@cache
def _template(model: Path) -> Template:
    return Template(model, Vocabulary(model))


READERS = {".jsonl": _lines, ".parquet": _table}
