"""Intervals and decisions: nothing here knows what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Conclusion = Literal["better", "worse", "no difference shown"]

MINIMUM_EFFECT = 0.01
"""A change smaller than this share is not called a change, however sure it is."""

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T_975_LARGE = 2.042


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def student_t(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t (table; above 15 degrees that of 30, which is the wider side)."""
    if degrees < 1:
        return math.inf
    return _T_975[degrees - 1] if degrees <= len(_T_975) else _T_975_LARGE + 0.09 * (30 - min(degrees, 30)) / 15


def mean_interval(samples: Sequence[float]) -> Interval:
    """Mean of independent repeats with Student's interval; a single repeat has no interval (infinite)."""
    values = np.asarray(samples, dtype=float)
    value = float(values.mean())
    if len(values) < 2:
        return Interval(value, -math.inf, math.inf)
    half = student_t(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(value, value - half, value + half)


def rate_interval(samples: Sequence[float]) -> Interval:
    """Geometric mean of positive repeats with Student's interval on the log scale; never below zero."""
    if any(sample <= 0 for sample in samples):
        return Interval(float(np.mean(samples)), 0.0, math.inf)
    logs = mean_interval([math.log(sample) for sample in samples])
    high = math.exp(logs.high) if logs.high < 700 else math.inf
    return Interval(math.exp(logs.value), math.exp(logs.low), high)


def conclusion(gain: Interval, minimum_effect: float = MINIMUM_EFFECT) -> Conclusion:
    """What a ratio (above 1 is better) allows to be said: its whole interval must clear the minimum effect."""
    if gain.low > 1 + minimum_effect:
        return "better"
    if gain.high < 1 - minimum_effect:
        return "worse"
    return "no difference shown"


def alternation(pairs: int, first_is_candidate: Sequence[bool]) -> tuple[str, ...]:
    """The order of `2 * pairs` blocks: each pair is candidate-baseline or baseline-candidate, as drawn."""
    order: list[str] = []
    for pair in range(pairs):
        order.extend(("candidate", "baseline") if first_is_candidate[pair] else ("baseline", "candidate"))
    return tuple(order)
