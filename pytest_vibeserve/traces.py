"""Recorded traffic as public traces tell it: when requests came, how long they were, what beginnings they shared.

Two shapes are read and written.  Mooncake: one JSON object a line with `timestamp` (ms), `input_length`,
`output_length` and `hash_ids`, a name for each block of 512 prompt tokens.  ShareGPT: conversations, each an object
with `id` and `conversations`, a list of {"from": "human" or "gpt", "value": text}; one a line, or one array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically

BLOCK_TOKENS = 512
FIELDS = ("timestamp", "input_length", "output_length")
DIGITS = 300
"""Digits of a whole number beyond which it is read as infinite, and refused with its line and field."""

ASKING, ANSWERING = ("human", "user"), ("gpt", "assistant", "chatgpt", "bing")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace: seconds from its start, tokens in and out, and the names of its prompt's blocks.

    Two prompts whose first k names are equal share their first k * 512 tokens.
    """

    at_s: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange of a conversation: what was asked and what was answered."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session of several turns, as texts."""

    id: str
    turns: tuple[Turn, ...]


def read_trace(path: Path) -> tuple[Arrival, ...] | tuple[Conversation, ...]:
    """A trace in the shape that its first object has; UsageError as the readers of each shape."""
    _, first = next(_objects(path), ("", {}))
    return read_conversations(path) if "conversations" in first else read_arrivals(path)


def read_arrivals(path: Path, context: float = inf) -> tuple[Arrival, ...]:
    """A trace in Mooncake's shape, in the order of time; UsageError names line and field of the first fault.

    `context` is the most tokens, in and out, that one request may take.
    """
    found = []
    for where, row in _objects(path):
        if "conversations" in row:
            raise UsageError(f"{where}: a conversation has no arrival; a trace needs {', '.join(FIELDS)}")
        at_ms = _number(row, "timestamp", where, float)
        tokens_in = _number(row, "input_length", where, int)
        tokens_out = _number(row, "output_length", where, int)
        if tokens_in < 1:
            raise UsageError(f"{where}: input_length must be at least 1, not {tokens_in}")
        if tokens_out < 1:
            raise UsageError(f"{where}: output_length must be at least 1, not {tokens_out}")
        if tokens_in + tokens_out > context:
            asked = tokens_in + tokens_out
            raise UsageError(f"{where}: input_length and output_length are {asked}, but limits.context is {context}")
        found.append(Arrival(at_ms / 1000, tokens_in, tokens_out, _blocks(row, tokens_in, where)))
    if not found:
        raise UsageError(f"{path} holds no request; write one JSON object a line")
    return tuple(sorted(found, key=lambda arrival: arrival.at_s))


def write_arrivals(arrivals: Iterable[Arrival], path: Path) -> None:
    """Write a trace in Mooncake's shape; what `read_arrivals` reads back, to the millisecond."""
    rows = (
        {
            "timestamp": round(1000 * arrival.at_s),
            "input_length": arrival.input_tokens,
            "output_length": arrival.output_tokens,
            "hash_ids": list(arrival.blocks),
        }
        for arrival in arrivals
    )
    write_atomically(path, "".join(f"{json.dumps(row)}\n" for row in rows))


def read_conversations(path: Path) -> tuple[Conversation, ...]:
    """Conversations in ShareGPT's shape; UsageError names line (or entry) and field of the first fault.

    What comes before the first question, and a question without an answer at the end, is left out: nothing to send.
    """
    found: list[Conversation] = []
    for where, row in _objects(path):
        turns = tuple(_turns(row, where))
        if turns:
            found.append(Conversation(str(row.get("id", len(found))), turns))
    if not found:
        raise UsageError(f"{path} holds no conversation with a question and an answer")
    return tuple(found)


def write_conversations(conversations: Iterable[Conversation], path: Path) -> None:
    """Write conversations in ShareGPT's shape, one a line."""
    lines = []
    for conversation in conversations:
        said = [
            {"from": speaker, "value": text}
            for turn in conversation.turns
            for speaker, text in (("human", turn.question), ("gpt", turn.answer))
        ]
        lines.append(json.dumps({"id": conversation.id, "conversations": said}, ensure_ascii=False) + "\n")
    write_atomically(path, "".join(lines))


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of a file with where it stands; blank lines are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no trace at {path}; give the path of a JSONL file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give the path of a JSONL file") from None
    except UnicodeDecodeError as error:
        broken = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {broken}: not UTF-8: {error.reason}") from None
    if text.lstrip().startswith("["):
        yield from _entries(path, text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def _entries(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply: {text[:60]!r}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UsageError(f"{path}, entry {number}: not an object but {str(row)[:60]!r}")
        yield f"{path}, entry {number}", row


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON ({error.msg} at column {error.colno}): {line[:60]!r}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply: {line[:60]!r}") from None
    if not isinstance(row, dict):
        raise UsageError(f"{where}: not an object but {line[:60]!r}")
    return row


def _whole(digits: str) -> int | float:
    """Python refuses to read thousands of digits, without a word of where they stand."""
    return int(digits) if len(digits) <= DIGITS else float(digits)


def _number(row: dict[str, Any], name: str, where: str, kind: type[int] | type[float]) -> Any:
    if name not in row:
        raise UsageError(f"{where}: {name} is missing")
    value = row[name]
    fits = isinstance(value, int) and not isinstance(value, bool)
    if not fits and not (kind is float and isinstance(value, float)):
        raise UsageError(f"{where}: {name} must be {'a whole number' if kind is int else 'a number'}, not {value!r}")
    if not 0 <= value < 2**53:
        raise UsageError(f"{where}: {name} must be at least 0 and finite, not {value!r}")
    return value


def _blocks(row: dict[str, Any], tokens: int, where: str) -> tuple[int, ...]:
    names = row.get("hash_ids", [])
    if not isinstance(names, list) or not all(type(name) is int for name in names):
        raise UsageError(f"{where}: hash_ids must be a list of whole numbers, not {str(names)[:60]!r}")
    if len(names) > -(-tokens // BLOCK_TOKENS):
        raise UsageError(f"{where}: hash_ids names {len(names)} blocks of {BLOCK_TOKENS}, input_length is {tokens}")
    return tuple(names)


def _turns(row: dict[str, Any], where: str) -> Iterator[Turn]:
    said = row.get("conversations")
    if not isinstance(said, list):
        raise UsageError(f"{where}: conversations must be a list, not {str(said)[:60]!r}")
    question: str | None = None
    for number, part in enumerate(said, 1):
        speaker, text = (part.get("from"), part.get("value")) if isinstance(part, dict) else (None, None)
        if not isinstance(speaker, str):
            raise UsageError(f"{where}: conversations[{number}].from is missing")
        if not isinstance(text, str):
            raise UsageError(f"{where}: conversations[{number}].value must be a text, not {str(text)[:60]!r}")
        if speaker in ASKING:
            question = text
        elif speaker in ANSWERING and question is not None:
            yield Turn(question, text)
            question = None
