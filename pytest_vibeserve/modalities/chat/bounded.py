"""Schemas of others, narrowed to what every grammar engine reads alike and what ends within a known number of bytes.

Every document of a narrowed schema is a document of the given one: optional fields become required or are left out,
further fields are not allowed, numbers become whole ones of few digits, strings short ones of plain letters, arrays
short.  What cannot be narrowed is refused by the name of the keyword that is in the way.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

from pytest_vibeserve.modalities.chat.tasks import NAMES, THINGS, WORDS, Task

LONGEST = 200
"""Bytes of the longest compact document that is asked for."""

LEVELS, FIELDS, ITEMS, LETTERS, DIGITS = 3, 8, 2, 9, 4
NAME = re.compile(r"[ !#-\[\]-~]{1,40}")
WORDLESS = frozenset(
    {
        "$schema", "$id", "id", "$comment", "title", "description", "default", "examples", "example", "deprecated",
        "readOnly", "writeOnly", "$defs", "definitions",
    }
)  # fmt: skip
"""Keywords that say nothing of a document."""

KEYWORDS = {
    "object": {"properties", "required", "additionalProperties", "minProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "null": set[str](),
}


class Unbounded(Exception):
    """A schema that cannot be narrowed; its text names the keyword that is in the way."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A narrowed schema, and the bytes of its longest compact document."""

    schema: dict[str, Any]
    longest: int


def bounded(schema: object) -> Bounded:
    """The schema of an object, narrowed; Unbounded where it cannot be, or where its documents are too long."""
    found = _narrowed(schema, LEVELS)
    if found.schema.get("type") != "object":
        raise Unbounded("no object")
    if found.longest > LONGEST:
        raise Unbounded("too long")
    return found


def task_of(given: Bounded, draws: random.Random) -> Task:
    """A request in words for a document of a narrowed schema, with a fact for each of its fields."""
    facts = ", ".join(f"{name} {draws.choice(WORDS)} {draws.randrange(100)}" for name in given.schema["properties"])
    words = (
        f"The {draws.choice(THINGS)} {draws.choice(NAMES)} {draws.getrandbits(32):08x} has {facts}. Give it as JSON."
    )
    return Task(json.dumps(given.schema), words, given.longest)


def _narrowed(schema: object, levels: int) -> Bounded:
    if not isinstance(schema, dict):
        raise Unbounded("no object of keywords")
    stated = {name: value for name, value in schema.items() if name not in WORDLESS}
    if "const" in stated or "enum" in stated:
        return _enumerated(stated)
    kind = stated.pop("type", "object" if "properties" in stated else None)
    if not isinstance(kind, str) or kind not in KEYWORDS:
        raise Unbounded("type" if kind is not None else next(iter(stated), "type"))
    unread = sorted(stated.keys() - KEYWORDS[kind])
    if unread:
        raise Unbounded(unread[0])
    if kind == "object":
        return _object(stated, levels)
    if kind == "array":
        return _array(stated, levels)
    if kind in ("integer", "number"):
        return _integer(stated)
    return _text(stated) if kind == "string" else Bounded({"type": kind}, 5 if kind == "boolean" else 4)


def _enumerated(stated: dict[str, Any]) -> Bounded:
    values = [stated["const"]] if "const" in stated else stated["enum"]
    if not isinstance(values, list) or not values or stated.keys() - {"const", "enum", "type"}:
        raise Unbounded("enum")
    if not all(value is None or isinstance(value, bool | int | str) for value in values):
        raise Unbounded("enum")
    if not all(NAME.fullmatch(value) for value in values if isinstance(value, str)):
        raise Unbounded("enum")
    kept = list({json.dumps(value): value for value in values}.values())
    return Bounded({"enum": kept}, max(len(json.dumps(value)) for value in kept))


def _object(stated: dict[str, Any], levels: int) -> Bounded:
    fields, wanted = stated.get("properties", {}), stated.get("required", [])
    if not isinstance(fields, dict) or not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise Unbounded("properties")
    if set(wanted) - fields.keys():
        raise Unbounded("required")
    if not levels:
        raise Unbounded("depth")
    kept: dict[str, Bounded] = {}
    for name in sorted(fields, key=lambda name: name not in wanted):
        try:
            kept[name] = _field(
                name, fields[name], levels - 1, sum(len(n) + 4 + one.longest for n, one in kept.items())
            )
        except Unbounded:
            if name in wanted:
                raise
    least = stated.get("minProperties", 0)
    if not kept or len(kept) > FIELDS or not isinstance(least, int) or len(kept) < least:
        raise Unbounded("properties")
    ordered = {name: kept[name] for name in fields if name in kept}
    schema = {
        "type": "object",
        "properties": {name: one.schema for name, one in ordered.items()},
        "required": list(ordered),
        "additionalProperties": False,
    }
    return Bounded(schema, 1 + sum(len(name) + 4 + one.longest for name, one in ordered.items()))


def _field(name: str, schema: object, levels: int, before: int) -> Bounded:
    if not NAME.fullmatch(name):
        raise Unbounded("properties")
    found = _narrowed(schema, levels)
    if before + len(name) + 4 + found.longest >= LONGEST:
        raise Unbounded("too long")
    return found


def _array(stated: dict[str, Any], levels: int) -> Bounded:
    least, most = _count(stated, "minItems", 0), _count(stated, "maxItems", ITEMS)
    most = min(most, max(least, ITEMS))
    if not levels or least > ITEMS or most < least:
        raise Unbounded("minItems" if levels else "depth")
    item = _narrowed(stated.get("items", {"type": "boolean"}), levels - 1)
    schema = {"type": "array", "items": item.schema, "minItems": least, "maxItems": most}
    return Bounded(schema, 2 + most * (1 + item.longest))


def _text(stated: dict[str, Any]) -> Bounded:
    least, most = max(1, _count(stated, "minLength", 1)), _count(stated, "maxLength", LETTERS)
    most = min(most, max(least, LETTERS))
    if least > 3 * LETTERS or most < least:
        raise Unbounded("minLength" if least > 3 * LETTERS else "maxLength")
    return Bounded({"type": "string", "pattern": f"^[a-z]{{{least},{most}}}$"}, 2 + most)


def _integer(stated: dict[str, Any]) -> Bounded:
    for name in ("minimum", "maximum"):
        if name in stated and (type(stated[name]) is not int or abs(stated[name]) >= 10**15):
            raise Unbounded(name)
    least = stated.get("minimum", min(0, stated.get("maximum", 0)))
    most = min(stated.get("maximum", 10**15), max(least, 0) + 10**DIGITS - 1)
    if most < least:
        raise Unbounded("maximum")
    return Bounded({"type": "integer", "minimum": least, "maximum": most}, max(len(str(least)), len(str(most))))


def _count(stated: dict[str, Any], name: str, otherwise: int) -> int:
    value = stated.get(name, otherwise)
    if type(value) is not int or value < 0:
        raise Unbounded(name)
    return value
