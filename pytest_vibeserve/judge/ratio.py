"""How many times the honest noise a candidate's error is, with its interval, and what that allows to be said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Said = Literal["pass", "fail", "undecided"]

CONFIDENCE = 0.998
RESAMPLES = 4000
REMEMBERED = 256
"""Sizes whose resamples are kept: drawing them takes longer than all that is done with them (8 MiB each at most)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the noisiest honest computation and the nearest forbidden one lie, in units of the noise floor.

    The rule of the calibration: the limit is the geometric mean of the two, so that both are equally many times away
    from it.  An interval is rejected when its point lies above the limit and its lower end above the mean of the limit
    and the honest one; it is accepted when its upper end lies below the mean of the limit and the forbidden one.
    On a toy of eight layers (honest 1.45, forbidden 2.53) this gives 1.9, 1.66 and 2.2.
    """

    honest: float
    forbidden: float

    @property
    def limit(self) -> float:
        """The ratio that separates honest from forbidden."""
        return math.sqrt(self.honest * self.forbidden)

    @property
    def rejected_above(self) -> float:
        """The lower end of an interval must lie above this to be rejected."""
        return math.sqrt(self.honest * self.limit)

    @property
    def accepted_below(self) -> float:
        """The upper end of an interval must lie below this to be accepted."""
        return math.sqrt(self.forbidden * self.limit)


@dataclass(frozen=True, slots=True)
class Ratio:
    """An error in units of the honest noise floor on the same contexts, with its bootstrap interval over requests."""

    point: float
    low: float
    high: float
    requests: int

    def said(self, bounds: Bounds) -> Said:
        """What the interval allows to be said."""
        if self.low > bounds.rejected_above and self.point > bounds.limit:
            return "fail"
        return "pass" if self.high < bounds.accepted_below else "undecided"


def ratio(candidate: Floats, honest: Floats, floor: float, confidence: float = CONFIDENCE) -> Ratio:
    """Sum of the candidate's errors [requests] over the largest sum of the honest ones [requests, variants].

    Whole requests are resampled, since tokens of one answer are not independent.  `floor` is added to both sums: it
    keeps a ratio defined where nothing honest erred, and pulls towards 1.
    """
    size = len(candidate)
    counts = _resamples(size) if size <= REMEMBERED else _resamples.__wrapped__(size)
    drawn = (counts @ candidate + floor) / ((counts @ honest).max(axis=1) + floor)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    point = (candidate.sum() + floor) / (honest.sum(axis=0).max() + floor)
    return Ratio(float(point), float(low), float(high), size)


@lru_cache(maxsize=16)
def _resamples(size: int) -> NDArray[np.int64]:
    """How often each of `size` requests is drawn in each resample; the same for equal sizes."""
    return np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), RESAMPLES)


MISS = 0.01
"""How often a rare fault may stay unseen where its rate is stated."""


def unseen_rate(audited: int) -> float:
    """The largest share of faulty requests that `audited` answers miss in one of a hundred runs: (1 - r)^n = 0.01."""
    return float(1 - MISS ** (1 / audited)) if audited else 1.0


def binomial_tail(count: int, trials: int, rate: float) -> float:
    """Probability of at least `count` successes in `trials` at `rate`, summed exactly in logarithms."""
    if count <= 0:
        return 1.0
    if rate <= 0:
        return 0.0
    terms = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(rate) + (trials - k) * math.log1p(-rate)
        for k in range(count, trials + 1)
    ]  # fmt: skip
    largest = max(terms)
    return min(1.0, math.exp(largest) * sum(math.exp(term - largest) for term in terms))
