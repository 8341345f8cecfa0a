"""One keep-alive connection, and one exchange on its way over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import cast

from .http1 import Answer
from .malformed import MalformedAnswer
from .traffic import CANCELLED, Exchange, Reply

GiveUp = Callable[["Flight", str], None]


class Flight:
    """One exchange from its dispatch to its reply; absolute times of the monotonic clock until the reply is made."""

    __slots__ = (
        "_timers",
        "answer",
        "connection",
        "done",
        "error",
        "exchange",
        "free",
        "resent",
        "room",
        "scheduled",
        "sent",
        "wire",
    )

    def __init__(self, exchange: Exchange, wire: bytes) -> None:
        """Hold the bytes to send ready, so that nothing is composed while the clock runs."""
        self.exchange = exchange
        self.wire = wire
        self.answer = Answer(bodiless=exchange.method == "HEAD")
        self.connection: Connection | None = None
        self.resent = False
        self.room = 0
        # `free` is when the client had room for it: a wait for room is the queueing that it measures, not its delay.
        self.scheduled = self.free = self.sent = self.done = 0.0
        self.error = ""
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def send_delay(self) -> float:
        """Seconds by which the client itself sent late."""
        return self.sent - max(self.scheduled, self.free)

    @property
    def landed(self) -> bool:
        """Whether there is a reply, with or without an error."""
        return self.done > 0

    def depart(self, loop: asyncio.AbstractEventLoop, scheduled: float | None, land: GiveUp) -> None:
        """Stamp the sending and start the clocks that end this flight without an answer."""
        self.sent = monotonic()
        self.scheduled = self.sent if scheduled is None else scheduled
        timeout, cancel = self.exchange.timeout_s, self.exchange.cancel_after_s
        self._timers.append(loop.call_later(timeout, land, self, f"no answer within {timeout:g} s"))
        if cancel is not None:
            self._timers.append(loop.call_later(cancel, land, self, CANCELLED))

    def land(self, at: float, error: str) -> None:
        """Close the books: the answer is whole when `error` is empty."""
        self.done, self.error = at, error
        for timer in self._timers:
            timer.cancel()

    def reply(self, start: float) -> Reply:
        """The reply in seconds since `start`."""
        return Reply(
            id=self.exchange.id,
            status=self.answer.status,
            error=self.error,
            scheduled_s=self.scheduled - start,
            sent_s=self.sent - start,
            chunks=tuple((at - start, part) for at, part in self.answer.chunks),
            done_s=self.done - start,
            headers=self.answer.headers,
        )


class Inbox:
    """Packets that have arrived and were not read yet, of all connections.

    All sockets that are ready are emptied, and their packets stamped, before the first packet is read: otherwise the
    last of many streams would be stamped later by the time that reading the others takes.
    """

    __slots__ = ("_loop", "_packets")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing has arrived."""
        self._loop = loop
        self._packets: list[tuple[Connection, float, bytes]] = []

    def put(self, connection: Connection, at: float, data: bytes) -> None:
        """Keep a packet until the event loop has looked at every socket."""
        if not self._packets:
            self._loop.call_soon(self._read)
        self._packets.append((connection, at, data))

    def _read(self) -> None:
        packets, self._packets = self._packets, []
        for connection, at, data in packets:
            connection.read(at, data)


class Connection(asyncio.Protocol):
    """A connection that carries one flight at a time and reports how it ended.

    `ended(flight, at, error)` is called once a flight has an answer or cannot have one any more; `lost(flight)` when
    a connection that had served before turns out to be closed and the flight deserves a fresh one.
    """

    __slots__ = ("_ended", "_inbox", "_lost", "_transport", "flight", "served")

    def __init__(
        self, inbox: Inbox, ended: Callable[[Flight, float, str], None], lost: Callable[[Flight], None]
    ) -> None:
        """Leave packets in the inbox; report to `ended` and `lost`."""
        self._inbox = inbox
        self._ended = ended
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self.flight: Flight | None = None
        self.served = False

    @property
    def is_open(self) -> bool:
        """Whether another flight may be carried."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_gone(self) -> bool:
        """Whether the socket is closed."""
        return self._transport is None

    def carry(self, flight: Flight) -> None:
        """Send the flight's request; the connection must be open and idle."""
        assert self._transport is not None
        self.flight = flight
        flight.connection = self
        self._transport.write(flight.wire)

    def close(self) -> None:
        """Close at once, whatever is on the way."""
        self.flight = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Stamp the packet; it is read in its turn."""
        self._inbox.put(self, monotonic(), data)

    def read(self, at: float, data: bytes) -> None:
        """Look at where the answer ends."""
        flight = self.flight
        if flight is None:
            self.close()
            return
        try:
            whole = flight.answer.feed(at, data)
        except MalformedAnswer as error:
            self.close()
            self._ended(flight, at, f"malformed answer: {error}")
            return
        if whole:
            self.flight = None
            self.served = True
            if not flight.answer.keep_alive:
                self.close()
            self._ended(flight, at, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the flight, or ask for a fresh connection when this one had only been kept open too long."""
        at = monotonic()
        flight, self.flight, self._transport = self.flight, None, None
        if flight is None:
            return
        if self.served and not flight.answer.started and not flight.resent:
            flight.resent = True
            self._lost(flight)
        else:
            self._ended(flight, at, f"connection reset: {exc}" if exc is not None else flight.answer.end())
