"""Tasks that nobody has seen before: schemas and the facts that an answer is to be filled from.

Schemas keep to what every grammar engine reads alike: objects whose fields are all required and come in the order of
the schema, enums, bounded integers, booleans, short arrays of enums, and strings of a plain pattern.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

THINGS = ("parcel", "invoice", "sensor", "ticket", "shipment", "tenant", "vehicle", "sample", "booking", "meter")
NAMES = ("colour", "grade", "count", "urgent", "label", "parts", "zone", "weight", "status", "batch", "origin", "shift")
WORDS = (
    "amber",
    "north",
    "quartz",
    "delta",
    "willow",
    "copper",
    "harbour",
    "violet",
    "summit",
    "ember",
    "onyx",
    "fern",
)
SENTINEL = "^sx-[0-9a-f]{8}$"
SENTINEL_BYTES = 13
TEXTS, TEXT_BYTES = 3, (24, 32)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its schema, the bytes of its longest value in compact JSON, and the fact that fills it."""

    schema: dict[str, Any]
    longest: int
    fact: str


@dataclass(frozen=True, slots=True)
class Task:
    """A schema (JSON text) and a request in words; `longest` bounds the bytes of a compact answer."""

    schema: str
    words: str
    longest: int


def task(draws: random.Random) -> Task:
    """A schema of two to four fields with facts for each."""
    names = draws.sample(NAMES, draws.randint(2, 4))
    fields = {name: draws.choice(KINDS)(draws) for name in names}
    return _task(fields, _words(draws, fields))


def same_schema(given: Task, draws: random.Random) -> Task:
    """The schema again, with other facts."""
    names = list(json.loads(given.schema)["properties"])
    facts = ", ".join(f"{name} {draws.choice(WORDS)} {draws.randrange(100)}" for name in names)
    words = f"The {draws.choice(THINGS)} has {facts}. Give it as JSON."
    return Task(given.schema, words, given.longest)


def same_words(given: Task, draws: random.Random) -> Task:
    """The request again, with another schema."""
    other = task(draws)
    while other.schema == given.schema:
        other = task(draws)
    return Task(other.schema, given.words, other.longest)


def same_shape(given: Task, draws: random.Random) -> Task:
    """The request again with the same names and kinds of fields in their order, which may have other values."""
    stated = json.loads(given.schema)["properties"]
    return _task({name: _other(kind, draws) for name, kind in stated.items()}, given.words)


def same_fields(given: Task) -> Task:
    """The request again with the very same fields, the last of them first."""
    schema = json.loads(given.schema)
    turned = schema | {"properties": dict(reversed(schema["properties"].items())), "required": schema["required"][::-1]}
    return Task(json.dumps(turned), given.words, given.longest)


def decoys(draws: random.Random) -> Task:
    """Several codes of one form, one of them asked for in words only."""
    things = draws.sample(THINGS, 3)
    codes = {thing: f"sx-{draws.getrandbits(32):08x}" for thing in things}
    said = "; ".join(f"the code of the {thing} is {code}" for thing, code in codes.items())
    code = Field({"type": "string", "pattern": SENTINEL}, SENTINEL_BYTES, "")
    fields = {"code": code, draws.choice(NAMES): draws.choice(KINDS)(draws)}
    return _task(fields, f"Note that {said}. Answer with the code of the {draws.choice(things)}.")


def texts(draws: random.Random) -> Task:
    """A schema of texts so long that two draws of a document hardly ever agree."""
    pattern = f"^[a-z]{{{TEXT_BYTES[0]},{TEXT_BYTES[1]}}}$"
    field = Field({"type": "string", "pattern": pattern}, 2 + TEXT_BYTES[1], draws.choice(WORDS))
    fields = dict.fromkeys(draws.sample(NAMES, TEXTS), field)
    return _task(fields, _words(draws, fields))


def _task(fields: dict[str, Field], words: str) -> Task:
    schema = {
        "type": "object",
        "properties": {name: field.schema for name, field in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
    longest = 1 + sum(len(name) + 4 + field.longest for name, field in fields.items())
    return Task(json.dumps(schema), words, longest)


def _words(draws: random.Random, fields: dict[str, Field]) -> str:
    facts = ", ".join(f"{name} {field.fact}" for name, field in fields.items())
    return f"The {draws.choice(THINGS)} {draws.choice(WORDS)} has {facts}. Give it as JSON."


def _enum(draws: random.Random) -> Field:
    values = draws.sample(WORDS, draws.randint(2, 5))
    return Field({"enum": values}, 2 + max(map(len, values)), draws.choice(values))


def _integer(draws: random.Random) -> Field:
    high = draws.choice((9, 99, 9999))
    return Field({"type": "integer", "minimum": 0, "maximum": high}, len(str(high)), str(draws.randint(0, high)))


def _boolean(draws: random.Random) -> Field:
    return Field({"type": "boolean"}, 5, draws.choice(("yes", "no")))


def _text(draws: random.Random) -> Field:
    most = draws.randint(4, 9)
    return Field({"type": "string", "pattern": f"^[a-z]{{2,{most}}}$"}, 2 + most, draws.choice(WORDS))


def _array(draws: random.Random) -> Field:
    values, most = draws.sample(WORDS, 3), draws.randint(1, 3)
    schema = {"type": "array", "items": {"enum": values}, "minItems": 1, "maxItems": most}
    return Field(schema, 2 + most * (3 + max(map(len, values))), " and ".join(draws.sample(values, 2)))


KINDS: tuple[Callable[[random.Random], Field], ...] = (_enum, _integer, _boolean, _text, _text, _array)


def _other(stated: dict[str, Any], draws: random.Random) -> Field:
    """A field of the kind that a schema states, with another schema; a boolean has but one."""
    makers = {"integer": _integer, "boolean": _boolean, "string": _text, "array": _array}
    kind = makers.get(stated.get("type", ""), _enum)
    found = kind(draws)
    while found.schema == stated and kind is not _boolean:
        found = kind(draws)
    return found
