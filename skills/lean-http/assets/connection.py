"""One client's connection: requests in their order, each answered before the next is read."""

import asyncio
from typing import Protocol, cast

from protocol import RequestError
from wire import CONTINUE, LAST_CHUNK, STREAM_HEAD, Incoming, Reader, WireError, chunk, response


class Answering(Protocol):
    """What a connection asks of the service behind it."""

    def answer(self, connection: "Connection", incoming: Incoming) -> None:
        """Answer a request, at once or later."""

    def lost(self, connection: "Connection") -> None:
        """Hear that the client has gone."""


class Connection(asyncio.Protocol):
    """Reads requests and writes responses; a client that ends its side has gone."""

    def __init__(self, service: Answering) -> None:
        """Wait for bytes."""
        self._service = service
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._busy = False
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # The transports of uvloop do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the service when a request was still being answered."""
        self._transport = None
        if self._busy:
            self._service.lost(self)

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        try:
            self._reader.feed(data)
            self._proceed()
        except WireError as error:
            self._refuse(error)

    def respond(self, status: int, body: bytes) -> None:
        """Send a whole response."""
        self._write(response(status, body, self._keep_alive))
        self._ended()

    def begin_stream(self) -> None:
        """Send the head of a response that comes in chunks."""
        self._write(STREAM_HEAD)

    def stream(self, data: bytes, *, last: bool) -> None:
        """Send data of a response that comes in chunks."""
        sent = chunk(data) if data else b""
        if last:
            self._write(sent + LAST_CHUNK)
            self._ended()
        elif sent:
            self._write(sent)

    def _proceed(self) -> None:
        """Answer the next request when it is complete and no other is being answered."""
        if self._busy or self._transport is None or self._transport.is_closing():
            return
        if self._reader.awaited():
            self._write(CONTINUE)
        incoming = self._reader.next()
        if incoming is not None:
            self._busy = True
            self._keep_alive = incoming.keep_alive
            self._service.answer(self, incoming)

    def _refuse(self, error: WireError) -> None:
        """Close, with the reason unless a response is under way."""
        self._keep_alive = False
        if not self._busy:
            refusal = RequestError(error.status.phrase, status=error.status)
            self.respond(refusal.status, refusal.body())
        elif self._transport is not None:
            self._transport.close()

    def _ended(self) -> None:
        """Go on to the next request, or close."""
        self._busy = False
        if self._keep_alive:
            asyncio.get_running_loop().call_soon(self.data_received, b"")
        elif self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
