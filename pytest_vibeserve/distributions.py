"""Latencies of all requests of a load, as counts that a page can draw."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_vibeserve.metrics import MILLISECONDS, Block, latencies
from pytest_vibeserve.report import Distribution

LATENCIES = ("ttft", "tpot", "itl", "e2e_latency")
RATIO = 1.15
LEAST_MS = 0.01
"""What is shorter counts in the first bin: clocks and bursts make zeros of it."""


def distributions(load: str, blocks: Sequence[Block]) -> Iterator[Distribution]:
    """One for each latency that some request of the blocks has."""
    for name in LATENCIES:
        found = [value * MILLISECONDS for block in blocks for value in latencies(name, block)]
        if found:
            yield distribution(name, load, found)


def distribution(name: str, load: str, milliseconds: Sequence[float]) -> Distribution:
    """Counts over bins that each are RATIO times as wide as the one before; infinite ones are unanswered."""
    finite = [max(value, LEAST_MS) for value in milliseconds if math.isfinite(value)]
    places = Counter(math.floor(math.log(value, RATIO)) for value in finite)
    low, high = min(places, default=0), max(places, default=-1)
    return Distribution(
        latency=name, load=load, first=float(f"{RATIO**low:.6g}"), ratio=RATIO,
        counts=tuple(places[place] for place in range(low, high + 1)), unanswered=len(milliseconds) - len(finite),
    )  # fmt: skip
