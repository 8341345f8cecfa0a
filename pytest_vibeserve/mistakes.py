"""What is wrong with a settings file, in words for whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from pytest_vibeserve.library import nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def reasons(error: ValidationError, model: type[BaseModel]) -> str:
    """Every fault by its dotted field with what it should be; a field that is not known, with the nearest ones."""
    known = dict(descriptions(model))
    faults = error.errors(include_url=False)
    # A list that lost a faulty entry is then also too short: only the fault itself is worth saying.
    own = [one for one in faults if not any(one is not other and _within(other, one) for other in faults)]
    return "; ".join(_reason(fault, known) for fault in own)


def _within(fault: ErrorDetails, other: ErrorDetails) -> bool:
    return len(fault["loc"]) > len(other["loc"]) and fault["loc"][: len(other["loc"])] == other["loc"]


def _reason(fault: ErrorDetails, known: dict[str, str]) -> str:
    shown = ".".join(str(part) for part in fault["loc"]) or "(top level)"
    field = ".".join(part for part in fault["loc"] if isinstance(part, str))
    if fault["type"] == "missing":
        return f"{shown} is missing: {known.get(field, '')}"
    if fault["type"] == "extra_forbidden":
        above, _, name = field.rpartition(".")
        beside = [other.rpartition(".") for other in known]
        return f"{shown} is no field; {nearest(name, [last for before, _, last in beside if before == above])}"
    return f"{shown}: {fault['msg'].removeprefix('Value error, ')}, found {fault['input']!r}"[:300]


def descriptions(part: type[BaseModel], above: str = "") -> Iterator[tuple[str, str]]:
    """Every field below a part by its dotted name, with what it means; list indices are left out."""
    for name, info in part.model_fields.items():
        field = above + (info.alias or name)
        yield field, info.description or ""
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from descriptions(kind, f"{field}.")
