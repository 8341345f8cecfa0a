"""The two ways to send: a fixed number of requests at a time, or each at its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from math import ceil
from time import monotonic

from .connection import Flight
from .driver import Driver

CONNECT_S = 5.0


class ClosedLoop(Driver):
    """A number of slots, each of which sends its next exchange when its last one was answered."""

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight], concurrency: int) -> None:
        """Keep `concurrency` flights in the air while there are enough."""
        super().__init__(address, flights)
        self._slots = min(concurrency, len(flights))
        self._queue: Iterator[Flight] = iter(flights)

    async def prepare(self) -> None:
        """Open a connection for each slot: setting them up is the client's work and no part of an answer's time."""
        if not self._slots:
            return
        dials = [self._loop.create_task(self._connect()) for _ in range(self._slots)]
        done, late = await asyncio.wait(dials, timeout=CONNECT_S)
        for dial in late:
            dial.cancel()
        for dial in done:
            error = dial.exception()
            if error is None:
                self._idle.append(dial.result())
            elif not isinstance(error, OSError):
                raise error

    def _begin(self) -> None:
        for _ in range(self._slots):
            self._after()

    def _after(self) -> None:
        flight = next(self._queue, None)
        if flight is not None:
            self._depart(flight)
        elif self._idle:
            self._idle.pop().close()

    def _withhold(self) -> None:
        self._queue = iter(())


class OpenLoop(Driver):
    """Sends each exchange at its own time, whatever became of the earlier ones."""

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight]) -> None:
        """Send in the order of the schedule."""
        super().__init__(address, flights)
        self._schedule = sorted(flights, key=lambda flight: flight.exchange.at_s or 0.0)
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None

    async def prepare(self) -> None:
        """Nothing to prepare: how many connections it takes is up to the server."""

    def _begin(self) -> None:
        for flight in self._schedule:
            flight.scheduled = self.start + (flight.exchange.at_s or 0.0)
        self._send_due()

    def _send_due(self) -> None:
        while self._sent < len(self._schedule):
            flight = self._schedule[self._sent]
            wait = flight.scheduled - monotonic()
            if wait > 0:
                # uvloop rounds to whole milliseconds; rounding up here keeps it from waking early and spinning.
                self._timer = self._loop.call_later(ceil(1000 * wait) / 1000, self._send_due)
                return
            self._sent += 1
            self._depart(flight, flight.scheduled)

    def _after(self) -> None:
        """Nothing follows from an answer here."""

    def _withhold(self) -> None:
        self._sent = len(self._schedule)
        if self._timer is not None:
            self._timer.cancel()
