"""Arrival times of an open loop, in seconds from its start, ascending; all randomness from the generator passed in."""

from __future__ import annotations

from itertools import accumulate
from math import inf, log1p
from random import Random

from ..errors import UsageError


def constant(rate: float, count: int) -> tuple[float, ...]:
    """`count` arrivals, the first at once and then `rate` a second at equal distances."""
    _check(rate)
    return tuple(index / rate for index in range(count))


def poisson(rate: float, count: int, rng: Random) -> tuple[float, ...]:
    """`count` arrivals of a Poisson process: independent exponential gaps of mean 1/rate before each."""
    _check(rate)
    # By inversion: of all of Random's methods only random() is promised to give the same numbers in every version.
    return tuple(accumulate(-log1p(-rng.random()) / rate for _ in range(count)))


def gamma(rate: float, count: int, burstiness: float, rng: Random) -> tuple[float, ...]:
    """`count` arrivals with gamma distributed gaps of mean 1/rate and shape `burstiness`.

    Shape 1 is a Poisson process, less comes in bursts, more is steadier: the gaps' coefficient of variation is
    1/sqrt(burstiness).
    """
    _check(rate)
    if not 0 < burstiness < inf:
        raise UsageError(f"the burstiness of arrivals must be above 0 and finite, not {burstiness}")
    return tuple(accumulate(rng.gammavariate(burstiness, 1 / (rate * burstiness)) for _ in range(count)))


def arrivals(kind: str, rate: float, count: int, rng: Random, burstiness: float = 1.0) -> tuple[float, ...]:
    """`count` arrivals of a process by its name: constant, poisson or gamma."""
    if kind == "constant":
        return constant(rate, count)
    if kind == "poisson":
        return poisson(rate, count, rng)
    if kind == "gamma":
        return gamma(rate, count, burstiness, rng)
    raise UsageError(f"no arrival process is called {kind!r}; known are: constant, gamma, poisson")


def _check(rate: float) -> None:
    if not 0 < rate < inf:
        raise UsageError(f"the rate of arrivals must be above 0 requests a second and finite, not {rate}")
