"""The search for the highest rate that a server sustains within a bound on a latency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pytest_vibeserve.errors import VibeserveError
from pytest_vibeserve.load_command.answers import keeps_up
from pytest_vibeserve.load_generator import Traffic, bottleneck, highest
from pytest_vibeserve.metrics import MILLISECONDS, Block, measure

RESOLUTION, TRIES = 0.05, 2
LEAST_S, MOST_S, TIMES_THE_BOUND = 10.0, 60.0, 20.0
"""A probe lasts so many times the bound, within these seconds: a queue needs time to grow beyond it."""

KEPT_UP = 0.95
"""Share of the offered rate that must be answered while it is offered."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: a latency at a percentile, its bound in seconds, the rates between which, and how long."""

    metric: str
    bound_s: float
    stated: str
    span: tuple[float, float]
    probe_s: float
    requests: int

    def count(self, rate: float) -> int:
        """Requests of a probe at that rate: enough to fill it."""
        return max(self.requests, math.ceil(rate * self.probe_s))

    @property
    def words(self) -> str:
        """How long the search may take, for who waits for it."""
        low, high = self.span
        doublings = math.ceil(math.log2(high / low))
        halvings = math.ceil(math.log2(math.log(2) / math.log(1 + RESOLUTION))) if high > low else 0
        rates = [min(high, low * 2**number) for number in range(doublings + 1)] + [high] * halvings
        longest_s = TRIES * sum(self.count(rate) / rate for rate in rates)
        return (
            f"each probe lasts {self.probe_s:g} s (--probe-seconds) and what its last answers take; "
            f"the search takes at most {TRIES * len(rates)} of them, {math.ceil(longest_s / 60)} min"
        )

    def found(self, probe: Callable[[float, int], tuple[Traffic, Block]]) -> dict[str, object]:
        """The highest rate that held with every probe; `probe(rate, count)` offers so many requests at a rate.

        A rate holds when the latency keeps its bound, no request failed and the server kept up with the schedule.
        """
        probes: list[dict[str, object]] = []

        def at(rate: float) -> float:
            traffic, block = probe(rate, self.count(rate))
            if why := bottleneck(traffic.health):
                told = f"at {rate:g} requests a second the client was the bottleneck: {why}; use --processes"
                raise VibeserveError(told)
            value, kept = measure(self.metric, block), keeps_up(block.answers)
            failed = sum(bool(answer.fault) for answer in block.answers)
            issued = {"issued": len(block.answers), "failed": failed, "kept_up": round(kept, 4)}
            probes.append({"rate": rate, self.metric: value, **issued})
            return value if not failed and kept >= KEPT_UP else math.inf

        capacity = highest(at, MILLISECONDS * self.bound_s, self.span, RESOLUTION)
        tried = [one | {"held": known.held} for one, known in zip(probes, capacity.probes, strict=True)]
        failed = capacity.failed if capacity.failed < math.inf else None
        return {"highest_rate": capacity.held, "lowest_failed": failed, "bound": self.stated, "probes": tried}
