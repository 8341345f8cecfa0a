"""What could be done about what was seen, and by how much the headline could rise at the most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_vibeserve.ceiling import Cost, prefill_s, step_s
from pytest_vibeserve.insight import Hypothesis
from pytest_vibeserve.machine_rates import Machine
from pytest_vibeserve.profiling import shares
from pytest_vibeserve.profiling.shares import Wall
from pytest_vibeserve.profiling.spans import Recording, covered, length
from pytest_vibeserve.profiling.stacks import Stacks

LEAST_GAIN = 1.03
MOST = 3
LARGEST_GAIN = 100.0
SATURATED = 0.85
"""From this share of all cores on, work of the host takes time from the model even while that runs."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a pass saw; `busy` is the share of cores or of the device, `work` and `rates` bound the model."""

    recording: Recording
    wall: Wall
    stacks: Stacks
    busy: float | None
    concurrency: int
    work: Cost | None
    rates: Machine | None


def hypotheses(seen: Evidence) -> tuple[tuple[Hypothesis, ...], tuple[tuple[str, float], ...]]:
    """The most promising ones, and the gain of each hint that the pass speaks of, hopeless ones included."""
    found = sorted(_all(seen), key=lambda one: -one.gain)
    worth = tuple(one for one in found if one.gain >= LEAST_GAIN)[:MOST]
    return worth, tuple((one.relieves, one.gain) for one in found)


def _all(seen: Evidence) -> Iterator[Hypothesis]:
    if seen.wall.prefill is not None and seen.wall.decode is not None:
        yield from _of_steps(seen)
        yield _prefill(seen)
        if (batched := _batching(seen)) is not None:
            yield batched
    yield from _host(seen)
    unused = seen.wall.model * (1 - seen.busy) if seen.busy is not None else 0.0
    told = f"nothing ran in {seen.wall.idle:.0%} of the time"
    told += f", {seen.busy:.0%} of the machine was used" if seen.busy is not None else ""
    yield _saving("idle-cores", max(seen.wall.idle, unused), f"{told}: keep it at work")


def _of_steps(seen: Evidence) -> Iterator[Hypothesis]:
    """Launches, and kernels that are slower than the machine."""
    launching = shares.launch_bound(seen.recording)
    reached = shares.roofline(seen.recording, seen.work, seen.rates)
    lost = (launching or 0.0) * seen.wall.model
    if launching is not None:
        told = f"{launching:.0%} of a step passes between operators: fewer and larger ones, or one compiled step"
        yield _saving("step-overhead", lost, told)
    if reached is not None:
        slow = (seen.wall.model - lost) * (1 - reached)
        told = f"the steps reach {reached:.0%} of the machine: better kernels, packed weights"
        filled = min(1.0, (shares.rows(seen.recording) or 0.0) / seen.concurrency)
        if launching is None:
            # What a step loses without having much to do is its own cost; with many rows it is that of its products.
            yield _saving("step-overhead", slow * (1 - filled), told)
        yield _saving("batch-efficiency", slow * (1 if launching is not None else filled), told)


def _prefill(seen: Evidence) -> Hypothesis:
    steps = seen.recording.of("prefill")
    taken = length(covered(steps))
    least = sum(prefill_s(seen.work, seen.rates, s.rows) for s in steps) if seen.work and seen.rates else 0.0
    share = (seen.wall.prefill or 0.0) * (1 - min(1.0, least / taken) if taken else 0.0)
    told = f"prefill takes {seen.wall.prefill:.0%} of the time: share it with decoding, in chunks, or reuse it"
    return _saving("prefill-stall", share, told)


def _batching(seen: Evidence) -> Hypothesis | None:
    """A decoding step for all streams, if it grew by no more than the machine's own bound says."""
    streams, steps = shares.rows(seen.recording), seen.recording.of("decode")
    if streams is None or not seen.work or not seen.rates:
        return None
    now = length(covered(steps)) / len(steps)
    grown = now + step_s(seen.work, seen.rates, seen.concurrency) - step_s(seen.work, seen.rates, round(streams) or 1)
    faster = max(1.0, seen.concurrency / streams * now / max(grown, 1e-9))
    told = f"a decoding step holds {streams:.1f} of {seen.concurrency} streams: let more of them share it"
    return _saving("serial-service", (seen.wall.decode or 0.0) * (1 - 1 / faster), told)


def _host(seen: Evidence) -> Iterator[Hypothesis]:
    """Work outside the model, as a whole and by kind; on a full machine it costs whenever it is done."""
    outside = seen.stacks.total - seen.stacks.kinds["model"]
    full = seen.busy is not None and seen.busy >= SATURATED and seen.stacks.total > 0
    lost = max(seen.wall.host, outside / seen.stacks.total) if full else seen.wall.host
    if seen.wall.decode is None:
        lost = outside / seen.stacks.total if seen.stacks.total else 0.0
    most = next((name for name, _ in seen.stacks.kinds.most_common() if name not in ("model", "other")), "")
    told = f"work outside the model costs {lost:.0%} of the time"
    yield _saving("host-overhead", lost, told + (f", most of what is known of it {most}" if most else ""))
    for kind in ("sampling", "http"):
        if outside:
            part = lost * seen.stacks.kinds[kind] / outside
            yield _saving(f"{kind}-overhead", part, f"{kind} costs {part:.0%} of the time: make it leaner")


def _saving(hint: str, share: float, told: str) -> Hypothesis:
    """By Amdahl's law: what would be without this share of the wall."""
    gain = min(LARGEST_GAIN, 1 / max(1 - share, 1e-6))
    return Hypothesis(relieves=hint, gain=float(f"{gain:.3g}"), text=told[:150])
