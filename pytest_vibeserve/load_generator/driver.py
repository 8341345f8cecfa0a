"""Carries the exchanges of one traffic over connections that live no longer than it."""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import ceil
from time import monotonic

from ..errors import InfrastructureError
from .connection import Connection, Flight, Inbox
from .follow_up import Spoken, filled, spoken
from .http1 import ANSWER_LIMIT
from .traffic import STOPPED, Exchange

Compose = Callable[[Exchange, bytes], bytes]
TURN_LOST = "not sent: the turn before it failed"
TRAFFIC_LIMIT = 4 * 1024**3
OUR_ERRORS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


class Driver(ABC):
    """What both loops share: connections, deadlines and the end of the traffic; loops.py decides when to send.

    Connections are not kept for the next traffic: an idle one would occupy a server that attends to one at a time.
    """

    def __init__(self, address: tuple[str, int], flights: Sequence[Flight], concurrency: int, compose: Compose) -> None:
        """Drive `flights` to `address`; `compose` makes the request of an exchange with another body."""
        self.flights = flights
        # Only the first turn of a session is the loop's to send; each later one follows from its predecessor.
        self._heads = [flight for flight in flights if flight.exchange.after is None]
        self._next_turn = {flight.exchange.after: flight for flight in flights if flight.exchange.after is not None}
        self._spoken: dict[int, Spoken] = {}
        self._compose = compose
        self._concurrency = concurrency
        self.start = 0.0
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._inbox = Inbox(self._loop)
        self._loop.set_exception_handler(self._broke)
        self._left = len(flights)
        self._room = TRAFFIC_LIMIT
        self._unsent = ""
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._dials: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def prepare(self) -> None:
        """Do what is to be done before the clock starts."""

    async def run(self, start_s: float, deadline_s: float) -> None:
        """Send everything from `start_s` on and return when every flight has landed, at the latest after `deadline_s`.

        `start_s` is on the monotonic clock; 0 is now.
        """
        if start_s:
            await asyncio.sleep(max(0.0, start_s - monotonic()))
        self.start = start_s or monotonic()
        expiry = self._loop.call_later(deadline_s, self._expire, f"{STOPPED} {deadline_s:g} s after the start")
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
        """React to a session, or an exchange of its own, that has ended."""

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
                lambda: Connection(self._inbox, self._land, self._dial), *self._address
            )
        except OSError as error:
            if error.errno in OUR_ERRORS:
                raise InfrastructureError(f"the load generator cannot open another connection: {error}") from error
            raise
        self._connections.append(connection)
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
        if self._next_turn and self._goes_on(flight, at):
            return
        if self._left:
            self._after()
        elif not self._finished.done():
            self._finished.set_result(None)

    def _goes_on(self, flight: Flight, at: float) -> bool:
        """Have the next turn sent after the pause to think, or land the rest of the session when that cannot be."""
        follower = self._next_turn.pop(flight.exchange.id, None)
        if follower is None:
            return False
        body = self._continued(flight, follower)
        if body is None:
            self._end_session(follower, at)
            return False
        follower.wire = self._compose(follower.exchange, body)
        self._take_turn(follower, at + follower.exchange.think_s)
        return True

    def _continued(self, flight: Flight, follower: Flight) -> bytes | None:
        """The body of the turn after `flight`; None when that has not answered what the turn needs."""
        if flight.error or flight.answer.status != 200:
            return None
        said = spoken(flight.answer.chunks)
        if said is None:
            return None
        self._spoken[flight.exchange.id] = said
        return filled(follower.exchange.body, self._spoken)

    def _end_session(self, flight: Flight | None, at: float) -> None:
        while flight is not None:
            flight.scheduled = flight.sent = at
            flight.land(at, self._unsent or TURN_LOST)
            self._left -= 1
            flight = self._next_turn.pop(flight.exchange.id, None)

    def _take_turn(self, flight: Flight, due: float) -> None:
        wait = due - monotonic()
        if flight.landed:
            return
        if wait > 0:
            # uvloop rounds to whole milliseconds, down as well as up.
            self._loop.call_later(ceil(1000 * wait) / 1000, self._take_turn, flight, due)
        else:
            self._depart(flight, due)

    def _expire(self, error: str) -> None:
        self._withhold()
        self._unsent = f"{error}, before this was sent"
        for flight in self.flights:
            if not flight.landed:
                told = f"{error}, before this was answered" if flight.sent else self._unsent
                flight.sent = flight.sent or monotonic()
                flight.scheduled = flight.scheduled or flight.sent
                # Under a cap it was room that lacked, not the client's diligence.
                flight.free = flight.sent if self._concurrency else 0.0
                self._give_up(flight, told)

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
