"""The two ways to send: a fixed number of requests at a time, or each at its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import monotonic

from .alarm import Alarm
from .connection import Flight
from .driver import Compose, Driver

CONNECT_S = 5.0


class ClosedLoop(Driver):
    """A number of slots, each of which sends its next exchange when its last one was answered."""

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight], concurrency: int, compose: Compose) -> None:
        """Keep `concurrency` flights, or sessions, going while there are enough."""
        super().__init__(address, flights, concurrency, compose)
        self._slots = min(concurrency, len(self._heads))
        self._queue: Iterator[Flight] = iter(self._heads)

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
    """Sends each exchange at its own time, whatever became of the earlier ones.

    With a cap on those in flight what is due waits for room; its schedule, and so its latency, stays what it was.
    """

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight], concurrency: int, compose: Compose) -> None:
        """Send in the order of the schedule, with at most `concurrency` in flight (0: any number)."""
        super().__init__(address, flights, concurrency, compose)
        self._schedule = sorted(self._heads, key=lambda flight: flight.exchange.at_s or 0.0)
        self._sent = self._ended = 0
        self._alarm = Alarm(self._loop, self._send_due)

    async def prepare(self) -> None:
        """Nothing to prepare: how many connections it takes is up to the server."""

    def _begin(self) -> None:
        for flight in self._schedule:
            flight.scheduled = self.start + (flight.exchange.at_s or 0.0)
        self._send_due()

    @property
    def _is_full(self) -> bool:
        return 0 < self._concurrency <= self._sent - self._ended

    def _send_due(self) -> None:
        while self._sent < len(self._schedule) and not self._is_full:
            flight = self._schedule[self._sent]
            if flight.scheduled > monotonic():
                self._alarm.set(flight.scheduled)
                return
            self._sent += 1
            self._depart(flight, flight.scheduled)

    def _after(self) -> None:
        was_full = self._is_full
        self._ended += 1
        if was_full and self._sent < len(self._schedule):
            self._schedule[self._sent].free = monotonic()
            self._send_due()

    def _withhold(self) -> None:
        self._sent = len(self._schedule)
        self._alarm.silence()

    async def _close(self) -> None:
        self._alarm.close()
        await super()._close()
