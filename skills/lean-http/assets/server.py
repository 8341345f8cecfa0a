"""The HTTP server: health, the model list and completions, on uvloop without a framework."""

import argparse
import asyncio
import signal
from pathlib import Path

import orjson
import uvloop

import environment  # noqa: F401
from answers import Answer
from card import read_card
from connection import Connection
from generation import Generator
from protocol import Request, RequestError, parse
from sequence import Event
from text import Vocabulary
from wire import Incoming


class Exchange:
    """A request in flight on a connection."""

    def __init__(self, connection: Connection, request: Request, answer: Answer) -> None:
        """Begin the response when it is a stream."""
        self.connection = connection
        self.request = request
        self.answer = answer
        self._events: list[Event] = []
        self._frames: list[bytes] = []
        if request.stream:
            connection.begin_stream()

    def take(self, event: Event) -> None:
        """Keep what the response will show of an event."""
        if self.request.stream:
            self._frames.append(self.answer.frame(event))
        else:
            self._events.append(event)
            self.answer.note(event)

    def flush(self) -> None:
        """Send what one step has added, in one write."""
        if self.request.stream:
            if self.answer.complete:
                self._frames.append(self.answer.closing())
            self.connection.stream(b"".join(self._frames), last=self.answer.complete)
            self._frames.clear()
        elif self.answer.complete:
            self.connection.respond(200, self.answer.whole(self._events))


class Service:
    """Answers the routes; it belongs to the event loop, and the generator to a thread of its own."""

    def __init__(self, folder: Path) -> None:
        """Load the model; afterwards requests can be served."""
        self._card = read_card(folder)
        self._vocabulary = Vocabulary(folder)
        self._exchanges: dict[str, Exchange] = {}
        self._loop = asyncio.get_running_loop()
        self._generator = Generator(folder, self._card, self._vocabulary, self._from_thread)
        self._models = orjson.dumps({"object": "list", "data": [{"id": self._card.name, "object": "model"}]})

    def answer(self, connection: Connection, incoming: Incoming) -> None:
        """Answer a request, at once or as its events come."""
        try:
            self._route(connection, incoming)
        except RequestError as error:
            connection.respond(error.status, error.body())

    def lost(self, connection: Connection) -> None:
        """Stop work for a client that has gone."""
        for exchange in [one for one in self._exchanges.values() if one.connection is connection]:
            del self._exchanges[exchange.request.id]
            self._generator.cancel(exchange.request)

    def _route(self, connection: Connection, incoming: Incoming) -> None:
        method = {"/health": "GET", "/v1/models": "GET", "/v1/completions": "POST"}.get(incoming.path)
        if method is None:
            raise RequestError("Not Found", status=404)
        if method != incoming.method:
            raise RequestError("Method Not Allowed", status=405)
        if incoming.path == "/health":
            connection.respond(200, b"")
        elif incoming.path == "/v1/models":
            connection.respond(200, self._models)
        else:
            request = parse(incoming.body, self._card, self._vocabulary)
            answer = Answer(request, self._card.name, self._vocabulary)
            self._exchanges[request.id] = Exchange(connection, request, answer)
            self._generator.submit(request)

    def _from_thread(self, events: list[Event]) -> None:
        self._loop.call_soon_threadsafe(self._dispatch, events)

    def _dispatch(self, events: list[Event]) -> None:
        """Send the events of one step: one write for each connection."""
        touched: dict[str, Exchange] = {}
        for event in events:
            exchange = self._exchanges.get(event.request_id)
            if exchange is not None:
                exchange.take(event)
                touched[event.request_id] = exchange
        for request_id, exchange in touched.items():
            if exchange.answer.complete:
                del self._exchanges[request_id]
            exchange.flush()


async def serve(folder: Path, host: str, port: int) -> None:
    """Serve until the process is told to end."""
    service = Service(folder)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Connection(service), host, port)
    await ended.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    uvloop.run(serve(options.model, options.host, options.port))


if __name__ == "__main__":
    main()
