"""Looks for the highest level of load at which something still holds, and goes through levels one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class Probe:
    """One level (requests a second, or requests in flight) that was tried, what was measured, and whether it held."""

    level: float
    value: float
    held: bool


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest level that held (0: none did) and the lowest that did not (infinite: all did), with every probe."""

    held: float
    failed: float
    probes: tuple[Probe, ...]


def highest(measure: Callable[[float], float], bound: float, span: tuple[float, float], resolution: float) -> Capacity:
    """The highest level within `span` at which `measure(level)` is at most `bound`.

    Doubles from the lower end until the bound is broken, then halves the ratio between what held and what did not until
    it is below 1 + `resolution`.  A level near the edge is noisy: one that breaks the bound is tried once more, and
    fails by the second try.  A measured NaN does not hold.
    """
    low, high = span
    if not 0 < low <= high < inf:
        raise UsageError(f"the search needs 0 < lowest <= highest level, not {low} and {high}")
    if not resolution > 0:
        raise UsageError(f"the resolution of a search must be above 0, not {resolution}")
    probes: list[Probe] = []

    def holds(level: float) -> bool:
        for _ in range(2):
            value = measure(level)
            probes.append(Probe(level, value, value <= bound))
            if value <= bound:
                return True
        return False

    held, failed, level = 0.0, inf, low
    while failed == inf and held < high:
        if holds(level):
            held, level = level, min(2 * level, high)
        else:
            failed = level
    while held and failed < inf and failed / held > 1 + resolution:
        level = sqrt(held * failed)
        if holds(level):
            held = level
        else:
            failed = level
    return Capacity(held, failed, tuple(probes))
