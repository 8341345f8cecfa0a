"""Machines that are no friend of statistics: what disturbs one block after another, in logarithms.

None of them drops a block: what they do is not seen by the canary nor in what other programs take.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

Disturbance = Callable[[random.Random], Iterator[float]]
QUIET = 0.003


def wandering(memory: float, size: float = 0.03) -> Disturbance:
    """Autocorrelated from block to block; below 0 it swings from one to the next."""

    def blocks(draws: random.Random) -> Iterator[float]:
        level = draws.gauss(0, size)
        while True:
            yield level
            level = memory * level + draws.gauss(0, size * math.sqrt(1 - memory**2))

    return blocks


def walking(step: float = 0.02) -> Disturbance:
    """A random walk without a home."""

    def blocks(draws: random.Random) -> Iterator[float]:
        level = 0.0
        while True:
            level += draws.gauss(0, step)
            yield level + draws.gauss(0, QUIET)

    return blocks


def swinging(period: float, size: float = 0.03) -> Disturbance:
    """A sine of so many blocks: a fan, a clock that is throttled, another program with a beat."""

    def blocks(draws: random.Random) -> Iterator[float]:
        phase, number = draws.uniform(0, 2 * math.pi), 0
        while True:
            yield size * math.sin(2 * math.pi * number / period + phase) + draws.gauss(0, QUIET)
            number += 1

    return blocks


def warming(blocks_long: float, size: float = 0.1) -> Disturbance:
    """Slow at first, or fast at first where `size` is below 0."""

    def blocks(draws: random.Random) -> Iterator[float]:
        number = 0
        while True:
            yield -size * math.exp(-number / blocks_long) + draws.gauss(0, 2 * QUIET)
            number += 1

    return blocks


def drifting(slope: float, bend: float = 0.0) -> Disturbance:
    """Slower and slower, or faster and faster."""

    def blocks(draws: random.Random) -> Iterator[float]:
        number = 0
        while True:
            yield slope * number + bend * number**2 + draws.gauss(0, 2 * QUIET)
            number += 1

    return blocks


def heavy_tailed(degrees: float, size: float = 0.02) -> Disturbance:
    """Student's t, independent; of one degree, Cauchy's."""

    def blocks(draws: random.Random) -> Iterator[float]:
        while True:
            yield size * draws.gauss(0, 1) / math.sqrt(draws.gammavariate(degrees / 2, 2 / degrees))

    return blocks


def spiking(chance: float, size: float = 0.2) -> Disturbance:
    """Now and then a block that is much slower."""

    def blocks(draws: random.Random) -> Iterator[float]:
        while True:
            yield draws.gauss(0, QUIET) - (draws.expovariate(1 / size) if draws.random() < chance else 0.0)

    return blocks


def switching(chance: float, size: float = 0.05) -> Disturbance:
    """Two speeds, and a chance at each block to change."""

    def blocks(draws: random.Random) -> Iterator[float]:
        level = 0.0
        while True:
            level = size - level if draws.random() < chance else level
            yield level + draws.gauss(0, QUIET)

    return blocks


MACHINES: dict[str, Disturbance] = {
    **{f"autocorrelation {memory}": wandering(memory) for memory in (-0.9, -0.5, 0.5, 0.9, 0.99)},
    "a random walk": walking(),
    **{f"a sine of {period:.3g} blocks": swinging(period) for period in (2, 8 / 3, 3, 4, 4.2, 5, 8, 16, 40)},
    "a large sine of 4 blocks": swinging(4, 0.1),
    "warming up": warming(5),
    "cooling down": warming(5, -0.1),
    "drifting by 1 % a block": drifting(0.01),
    "drifting faster and faster": drifting(0.0, 0.002),
    **{f"Student's t of {degrees:g}": heavy_tailed(degrees) for degrees in (1, 2, 3)},
    **{f"spikes in {chance:.0%} of the blocks": spiking(chance) for chance in (0.05, 0.25, 0.5)},
    **{f"two speeds, changing at {chance:.0%}": switching(chance) for chance in (0.05, 0.25, 0.5)},
}
