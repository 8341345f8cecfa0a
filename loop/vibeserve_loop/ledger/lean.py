"""Many records in little memory: what is equal in them is kept once."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from pytest_vibeserve.report import Hint
from vibeserve_loop.records import Issue, Spend

Record = TypeVar("Record", bound=BaseModel)
SHARED = (Hint, Issue, Spend)
"""Small records that many rounds have the same of."""


class Shelf:
    """Holds one of each: words, small records, and the sets in which pydantic notes which fields were given."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._given: dict[frozenset[str], set[str]] = {}
        self._parts: dict[object, object] = {}

    def kept(self, record: Record) -> Record:
        """The very same record, its parts exchanged for equal ones that are kept already."""
        fields = record.__dict__
        for name, value in fields.items():
            fields[name] = self._part(value)
        given = record.__pydantic_fields_set__
        shared = self._given.setdefault(frozenset(given), given)
        object.__setattr__(record, "__pydantic_fields_set__", shared)
        return record

    def _part(self, value: object) -> object:
        if isinstance(value, BaseModel):
            whole = self.kept(value)
            return self._parts.setdefault(whole, whole) if isinstance(whole, SHARED) else whole
        if isinstance(value, tuple) and value:
            parts = tuple(self._part(part) for part in value)
            alike = all(isinstance(part, (str, *SHARED)) for part in parts)
            return self._parts.setdefault(parts, parts) if alike else parts
        return self._parts.setdefault(value, value) if isinstance(value, str) else value
