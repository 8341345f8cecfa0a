"""Intervals and decisions: nothing here knows what was measured, and nothing heavy is imported, for the loop's sake."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_vibeserve import separation

Conclusion = Literal["better", "worse", "no difference shown"]
Relation = Literal["dominates", "dominated", "incomparable", "not shown"]

MINIMUM_EFFECT = 0.01
"""A change smaller than this share is not called a change, however sure it is."""
ALPHA = 0.025
"""The chance of a wrong "better" in a comparison that stands alone: the lower end of a two-sided 95 % interval."""

PATTERNS = ("ABBA", "BAAB")
"""The two orders of a quad's blocks."""

EARLY_QUADS = 2
OSCILLATION = 1.2
"""Up to so many quads, what an oscillation of the machine in step with their order may do to a ratio of rates."""

_PRIOR_VARIANCE = 16.0
"""Variance of the mixture over effects, in units of the noise: the narrowest intervals after a few quads."""
_SPREAD_ROUNDS = 20
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T_975_LARGE = 2.042


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval, 95 % unless it says otherwise."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Quad:
    """One ABBA or BAAB in logarithms: the effect, and two contrasts of equal arms (A/A, B/B) that hold noise alone.

    With independent noise of one size in the four blocks all three have its variance and are independent; a drift over
    the quad leaves the effect alone and widens the contrasts, so that it costs sharpness and never validity.
    Without a logarithm (a block served nothing) they are NaN; `ratios` and `sums`, of ours and of theirs, are there.
    """

    effect: float
    noise: tuple[float, float]
    ratios: tuple[float, float]
    sums: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Ours to theirs: of geometric means, or of sums where some block has no logarithm."""
        return _quotient(*self.sums) if math.isnan(self.effect) else math.exp(self.effect)


def quad(ours: tuple[float, float], theirs: tuple[float, float]) -> Quad:
    """The quad of four values, two blocks of each arm; `effect` is the log ratio of ours to theirs."""
    apart, sums = separation.ratios(ours, theirs), (sum(ours), sum(theirs))
    if not all(0 < value < math.inf for value in (*ours, *theirs)):
        return Quad(math.nan, (math.nan, math.nan), apart, sums)
    a, b = (math.log(ours[0]), math.log(ours[1])), (math.log(theirs[0]), math.log(theirs[1]))
    noise = ((a[0] - a[1]) / math.sqrt(2), (b[0] - b[1]) / math.sqrt(2))
    return Quad((a[0] + a[1] - b[0] - b[1]) / 2, noise, apart, sums)


def orders(draws: random.Random) -> Iterator[str]:
    """The order of one quad after another, at random, but of each three neither all the same nor changing twice.

    A machine that swings with a quad's own period, or with twice that, adds the same to every quad of one order and
    shows in no contrast; with such threes it cannot take one sign throughout, and shows in the scatter of effects.
    """
    while True:
        first, second = draws.choice(PATTERNS), draws.choice(PATTERNS)
        yield from (first, second, PATTERNS[1 - PATTERNS.index(first)] if first == second else second)


def student_t(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t (table; above 15 degrees that of 30, which is the wider side)."""
    if degrees < 1:
        return math.inf
    return _T_975[degrees - 1] if degrees <= len(_T_975) else _T_975_LARGE + 0.09 * (30 - min(degrees, 30)) / 15


def mean_interval(samples: Sequence[float]) -> Interval:
    """Mean of independent repeats with Student's interval; a single repeat has no interval (infinite)."""
    value = math.fsum(samples) / len(samples)
    if len(samples) < 2:
        return Interval(value, -math.inf, math.inf)
    degrees = len(samples) - 1
    spread = math.sqrt(math.fsum((sample - value) ** 2 for sample in samples) / degrees)
    half = student_t(degrees) * spread / math.sqrt(len(samples))
    return Interval(value, value - half, value + half)


def rate_interval(samples: Sequence[float]) -> Interval:
    """Geometric mean of repeats with Student's interval on the log scale; never below zero.

    Where some repeat is zero there is no such scale: the arithmetic mean with Student's interval, cut off at zero.
    """
    if any(sample <= 0 for sample in samples):
        plain = mean_interval(samples)
        return Interval(plain.value, max(0.0, plain.low), plain.high)
    logs = mean_interval([math.log(sample) for sample in samples])
    high = math.exp(logs.high) if logs.high < 700 else math.inf
    return Interval(math.exp(logs.value), math.exp(logs.low), high)


class GainSequence:
    """An interval for a gain that may be looked at after every quad, and stopped at any, without spoiling its level.

    The bound is a test martingale: the likelihood ratio of the scale-invariant data, effects mixed over a Gaussian of
    variance g in units of the noise, against one effect d; Lai (1976), and Wang and Ramdas, Anytime-valid t-tests
    (arXiv 2310.03722), here with the equal-arm contrasts as further data of mean zero.  After n quads, N = 3 n numbers,
    V = their squares about (mean effect, 0, 0), it exceeds 1 / (2 alpha) where
    (d - mean)^2 >= (c - 1) V / (n (1 - c / (1 + n g))) with c = ((1 + n g) / (2 alpha)^2)^(1 / N),
    by Ville's inequality with probability 2 alpha at most over all n, half of it on each side.  The first two quads
    cannot tell a difference from an oscillation of the machine in step with them (see `orders`): their intervals are
    wider by what that may do.

    From the first quad without a logarithm on (a block served nothing, or for ever) the interval is that of
    `separation`, over all quads and at half of alpha: an effect whose logarithm is missing in some quads cannot be
    told from the others alone.
    """

    def __init__(self, alpha: float = ALPHA) -> None:
        """`alpha` is the chance, over all looks together, that the whole interval lies above the true gain."""
        self.alpha = alpha
        self._quads: list[Quad] = []
        self._low, self._high = -math.inf, math.inf
        self._has_logarithms = True

    def __len__(self) -> int:
        return len(self._quads)

    def add(self, found: Quad) -> None:
        """Take in one quad; the interval is the intersection of all looks."""
        self._quads.append(found)
        self._has_logarithms = self._has_logarithms and not math.isnan(found.effect)
        if not self._has_logarithms:
            return
        centre, half = self._centre(), self.half_width(len(self._quads))
        half += math.log(OSCILLATION) if len(self._quads) <= EARLY_QUADS else 0.0
        self._low, self._high = max(self._low, centre - half), min(self._high, centre + half)

    def half_width(self, count: int) -> float:
        """Half the interval in logarithms after `count` quads of the noise seen so far; infinite for too few."""
        numbers, spread = 3 * count, 1 + count * _PRIOR_VARIANCE
        factor = (spread / (2 * self.alpha) ** 2) ** (1 / numbers)
        if not self._quads or factor >= spread:
            return math.inf
        squares = self._squares() * count / len(self._quads)
        return math.sqrt((factor - 1) * squares / (count * (1 - factor / spread)))

    @property
    def noise(self) -> float:
        """Standard deviation of one block's logarithm, from equal-arm contrasts and the scatter of effects.

        Infinite where a block has no logarithm.
        """
        if not self._has_logarithms:
            return math.inf
        degrees = 3 * len(self._quads) - 1
        return math.sqrt(self._squares() / degrees) if degrees > 0 else math.inf

    @property
    def gain(self) -> Interval:
        """The gain as a ratio with its interval of confidence 1 - 2 alpha; without a quad it is open."""
        if not self._quads:
            return Interval(1.0, 0.0, math.inf)
        if not self._has_logarithms:
            return self._separated()
        # Looks that contradict each other leave nothing: then nothing is claimed.
        low, high = (self._low, self._high) if self._low <= self._high else (-math.inf, math.inf)
        centre = min(max(self._centre(), low), high)
        return Interval(math.exp(centre), math.exp(low), math.exp(high) if high < 700 else math.inf)

    def conclusion(self) -> Conclusion:
        """What may be said now."""
        return conclusion(self.gain)

    def is_futile(self, most: int) -> bool:
        """Whether `most` quads would hardly end in a difference: two standard errors on, still none is shown.

        Giving up early can only lose a true difference, never claim a false one.
        """
        if not self._has_logarithms:
            return not self._may_separate(most)
        reach = 2 * self.noise / math.sqrt(max(1, len(self._quads)))
        half, least = self.half_width(most), math.log1p(MINIMUM_EFFECT)
        return abs(self._centre()) + reach - half < least if self._quads else False

    def _separated(self) -> Interval:
        low, high = separation.bounds([one.ratios for one in self._quads], self.alpha / 2)
        found = _quotient(*(math.fsum(arm) for arm in zip(*(one.sums for one in self._quads), strict=True)))
        return Interval(min(max(1.0 if math.isnan(found) else found, low), high), low, high)

    def _may_separate(self, most: int) -> bool:
        """Whether something could be said after `most` quads if all that are to come stand apart one way."""
        least, most_seen = min(one.ratios[0] for one in self._quads), max(one.ratios[1] for one in self._quads)
        is_apart = least > 1 + MINIMUM_EFFECT or most_seen < 1 / (1 + MINIMUM_EFFECT)
        return is_apart and separation.is_enough(most, self.alpha / 2)

    def _centre(self) -> float:
        return sum(found.effect for found in self._quads) / len(self._quads)

    def _squares(self) -> float:
        centre = self._centre()
        return sum((q.effect - centre) ** 2 + q.noise[0] ** 2 + q.noise[1] ** 2 for q in self._quads)


def _quotient(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.inf if ours else math.nan


def conclusion(gain: Interval, minimum_effect: float = MINIMUM_EFFECT) -> Conclusion:
    """What a ratio (above 1 is better) allows to be said: its whole interval must clear the minimum effect."""
    if gain.low > 1 + minimum_effect:
        return "better"
    if gain.high < 1 / (1 + minimum_effect):
        return "worse"
    return "no difference shown"


def relation(gains: Sequence[Interval], minimum_effect: float = MINIMUM_EFFECT) -> Relation:
    """How one stands to another on several objectives (ratios, above 1 is better), by their intervals.

    It dominates when it is better on one and on none can it be worse by more than the minimum effect; incomparable when
    each is better on something; whatever the intervals leave open is not shown.
    """
    said = {conclusion(gain, minimum_effect) for gain in gains}
    if {"better", "worse"} <= said:
        return "incomparable"
    if "better" in said and all(gain.low > 1 / (1 + minimum_effect) for gain in gains):
        return "dominates"
    if "worse" in said and all(gain.high < 1 + minimum_effect for gain in gains):
        return "dominated"
    return "not shown"


def alpha_share(number: int, total: float) -> float:
    """The part of `total` that the decision `number` (from 1) of a search of unknown length may spend.

    c / ((c + k - 1)(c + k)) with c = 20: the series sums to one, spends half in the first twenty rounds, and keeps
    something for every later one.
    """
    before = _SPREAD_ROUNDS + number - 1
    return total * _SPREAD_ROUNDS / (before * (before + 1))
