"""Signs of playing to the test, read from the traffic itself; each is a named check with its statistic and limit."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_vibeserve.integrity import pace, physics, service, streams
from pytest_vibeserve.integrity.physics import dense_work, idle_rate, settled_cpu_s
from pytest_vibeserve.integrity.run import Run, Work
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target

__all__ = ["Run", "Work", "dense_work", "idle_rate", "settled_cpu_s", "traffic_checks"]


def traffic_checks(run: Run, target: Target) -> Iterator[Check]:
    """All that the answers of one load must satisfy whatever they say: served, in time, truly streamed, computed."""
    limits, quantization = target.limits, target.rules.quantization
    yield service.answered(run)
    yield service.in_time(run, limits)
    yield service.whole(run)
    yield service.goodput(run, limits)
    yield service.drained(run, limits)
    yield service.scheduled(run)
    if run.load.arrival == "trace":
        yield service.replayed(run)
    yield service.fair(run)
    yield streams.grouped(run, limits)
    yield streams.spread(run, limits)
    yield streams.continuous(run, limits)
    yield streams.first_token(run)
    yield pace.paced(run)
    yield physics.worked(run, quantization)
    yield physics.below_light(run, quantization)
    yield physics.prefilled(run, quantization)
    yield physics.deferred(run)
