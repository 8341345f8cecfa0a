"""Watches the client while it works: how late its event loop runs, how late it sends, what CPU time it takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from time import monotonic, process_time

from .traffic import ClientHealth

TICK_S = 0.005


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed (nearest rank); 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Vitals:
    """A ticker on the event loop of one traffic; it ends the process when the parent process is gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop, parent: int) -> None:
        """Watch `loop`, on behalf of the process `parent`."""
        self._loop = loop
        self._parent = parent
        self._lags: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._start = self._cpu = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._start, self._cpu = monotonic(), process_time()
        self._schedule()

    def _schedule(self) -> None:
        self._due = monotonic() + TICK_S
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        late = monotonic() - self._due
        self._lags.append(max(0.0, late))
        # A stalled loop misses ticks just while it is late: count those that would have fallen into the stall.
        while late > TICK_S:
            late -= TICK_S
            self._lags.append(late)
        if os.getppid() != self._parent:
            os._exit(1)
        self._schedule()

    def stop(self, send_delays: Sequence[float]) -> ClientHealth:
        """End watching and sum up; `send_delays` in seconds behind the schedule."""
        wall, cpu = monotonic() - self._start, process_time() - self._cpu
        if self._timer is not None:
            self._timer.cancel()
        return ClientHealth(
            loop_lag_p99_s=percentile(self._lags, 0.99),
            send_delay_p99_s=percentile(send_delays, 0.99),
            cpu_s=cpu,
            cpu_share=cpu / wall if wall > 0 else 0.0,
        )
