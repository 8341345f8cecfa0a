"""Carries the exchanges of one traffic over connections that live no longer than it."""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import monotonic

from ..errors import InfrastructureError
from .connection import Connection, Flight
from .http1 import ANSWER_LIMIT

TRAFFIC_LIMIT = 4 * 1024**3
OUR_ERRORS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


class Driver(ABC):
    """What both loops share: connections, deadlines and the end of the traffic; loops.py decides when to send.

    Connections are not kept for the next traffic: an idle one would occupy a server that attends to one at a time.
    """

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight]) -> None:
        """Drive `flights` to `address`."""
        self.flights = flights
        self.start = 0.0
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._loop.set_exception_handler(self._broke)
        self._left = len(flights)
        self._room = TRAFFIC_LIMIT
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._dials: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def prepare(self) -> None:
        """Do what is to be done before the clock starts."""

    async def run(self, deadline_s: float) -> None:
        """Send everything and return when every flight has landed, at the latest after `deadline_s`."""
        self.start = monotonic()
        expiry = self._loop.call_later(deadline_s, self._expire, f"no answer within {deadline_s:g} s of the start")
        try:
            if self._left:
                self._begin()
                await self._finished
        finally:
            expiry.cancel()
            await self._close()

    @abstractmethod
    def _begin(self) -> None:
        """Send what is to be sent at once."""

    @abstractmethod
    def _after(self) -> None:
        """React to a flight that has landed."""

    @abstractmethod
    def _withhold(self) -> None:
        """Send nothing any more."""

    def _depart(self, flight: Flight, scheduled: float | None = None) -> None:
        flight.answer.room = flight.room = min(ANSWER_LIMIT, self._room)
        flight.depart(self._loop, scheduled, self._give_up)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.carry(flight)
                return
        self._dial(flight)

    def _dial(self, flight: Flight) -> None:
        task = self._loop.create_task(self._dial_and_carry(flight))
        self._dials.add(task)
        task.add_done_callback(self._dialled)

    async def _dial_and_carry(self, flight: Flight) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            if not flight.landed:
                self._land(flight, monotonic(), f"connection failed: {error.strerror or error}")
            return
        if flight.landed:
            connection.close()
        else:
            connection.carry(flight)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dials.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._finished.done():
            self._finished.set_exception(error)

    async def _connect(self) -> Connection:
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._land, self._dial), *self._address
            )
        except OSError as error:
            if error.errno in OUR_ERRORS:
                raise InfrastructureError(f"the load generator cannot open another connection: {error}") from error
            raise
        return connection

    def _give_up(self, flight: Flight, error: str) -> None:
        if flight.connection is not None:
            flight.connection.close()
        self._land(flight, monotonic(), error)

    def _land(self, flight: Flight, at: float, error: str) -> None:
        flight.land(at, error)
        self._room -= flight.room - flight.answer.room
        connection = flight.connection
        if not error and connection is not None and connection.is_open:
            self._idle.append(connection)
        self._left -= 1
        if self._left:
            self._after()
        elif not self._finished.done():
            self._finished.set_result(None)

    def _expire(self, error: str) -> None:
        self._withhold()
        for flight in self.flights:
            if not flight.landed:
                flight.sent = flight.sent or monotonic()
                flight.scheduled = flight.scheduled or flight.sent
                self._give_up(flight, error)

    async def _close(self) -> None:
        dials = list(self._dials)
        for dial in dials:
            dial.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for connection in self._connections:
            connection.close()
        # The event loop closes sockets in a later turn, and after this traffic it may not turn for a long time.
        while not all(connection.is_gone for connection in self._connections):
            await asyncio.sleep(0)

    def _broke(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # The event loop would log an error in one of our callbacks and go on: then it would pass for the server's.
        error = context.get("exception")
        # What befell a socket reaches its connection as well.
        if not isinstance(error, OSError) and not self._finished.done():
            failure = error if isinstance(error, Exception) else InfrastructureError(str(context.get("message")))
            self._finished.set_exception(failure)
