"""The alarm of the open loop: it rings once, never early, and not when it was silenced."""

from __future__ import annotations

import asyncio
import os
from time import monotonic

from pytest_vibeserve.load_generator.alarm import Alarm


async def rung(*settings: float | None, wait_s: float = 0.15) -> list[float]:
    """When an alarm rang that was set to these seconds from now, one after the other; None silences it."""
    times: list[float] = []
    alarm = Alarm(asyncio.get_running_loop(), lambda: times.append(monotonic() - start))
    start = monotonic()
    for setting in settings:
        if setting is None:
            alarm.silence()
        else:
            alarm.set(start + setting)
    await asyncio.sleep(wait_s)
    alarm.close()
    alarm.close()
    return times


def test_it_rings_once_and_never_early() -> None:
    (at,) = asyncio.run(rung(0.0204))
    assert at >= 0.0204


def test_what_has_passed_rings_at_once_and_only_the_last_setting_counts() -> None:
    assert len(asyncio.run(rung(-5.0))) == 1
    (at,) = asyncio.run(rung(0.02, 0.05))
    assert at >= 0.05


def test_silence_is_kept() -> None:
    assert asyncio.run(rung(0.02, None)) == []


def test_nothing_is_left_open() -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        asyncio.run(rung(0.0, wait_s=0.001))
    assert len(os.listdir("/dev/fd")) == before
