"""What programs tell, read without trust: a part that is not of the kind that it should be counts as nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

EMPTY: Mapping[str, Any] = {}
LARGEST = 2.0**53


def table(value: object) -> Mapping[str, Any]:
    """A JSON object as it is; anything else is an empty one."""
    return value if isinstance(value, Mapping) else EMPTY


def rows(value: object) -> Sequence[Any]:
    """A JSON array as it is; anything else is an empty one."""
    return value if isinstance(value, list) else ()


def number(value: object) -> float:
    """A finite number that is not negative; anything else is 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= LARGEST and math.isfinite(value) else 0.0


def amount(value: object) -> int:
    """A count, such as of tokens."""
    return int(number(value))


def words(value: object) -> str:
    """A string as it is, "" for null; anything else as Python shows it."""
    return value if isinstance(value, str) else "" if value is None else str(value)
