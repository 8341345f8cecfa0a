"""A loopback HTTP/1.1 server with known delays and known faults; prints its port, and tells under /log what it saw.

    stub.py [--host 127.0.0.1] [--port 0] [--ttft 0.02] [--itl 0.005] [--capacity 0]

POST /v1/completions, as every path that ends so, streams `max_tokens` server-sent events, token k due ttft + k * itl
after the request came, or after its turn where no more than `capacity` requests a second are begun.
Every other behaviour has a path of its own, listed in `Stub.routes`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import cast

PAYLOAD = b'data: {"text": "h\xc3\xa9 0\\r\\n\\r\\n"}\n\ndata: 0\r\n\r\ndata: [DONE]\n\n'
EVENT = b'data: {"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" a","token_ids":[17]}]}\n\n'
DONE = b"data: [DONE]\n\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIP_S = 0.002
STUB = (sys.executable, __file__)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sized(body: bytes, extra: bytes = b"") -> bytes:
    return b"%bContent-Length: %d\r\n%b\r\n%b" % (OK, len(body), extra, body)


@contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the first line it prints; killed in the end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def running_stub(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A stub in a process of its own, and its port."""
    with running([*STUB, *options]) as (process, line):
        yield process, int(line)


class Seen:
    """What all connections of one stub saw."""

    def __init__(self, ttft: float, itl: float, capacity: float = 0.0) -> None:
        self.ttft, self.itl, self.capacity, self.free = ttft, itl, capacity, 0.0
        self.connections = self.waiting = self.most_waiting = self.abandoned = 0
        self.requests: list[str] = []
        self.bodies: list[str] = []
        self.streams: list[tuple[str, float, float, float]] = []
        self.together: list[Callable[[], None]] = []

    def text(self) -> bytes:
        names = ("connections", "most_waiting", "abandoned", "requests", "bodies", "streams")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, seen: Seen, loop: asyncio.AbstractEventLoop) -> None:
        self.seen, self.loop = seen, loop
        self.pending = b""
        self.busy = self.gone = False
        self.routes: dict[str, Callable[[], None]] = {
            "/health": lambda: self.answer(sized(b"")),
            "/log": lambda: self.answer(sized(self.seen.text())),
            "/sized": lambda: self.answer(sized(PAYLOAD)),
            "/chunked": lambda: self.answer(CHUNKED + chunk(PAYLOAD[:9]) + chunk(PAYLOAD[9:]) + b"0\r\n\r\n"),
            "/trailer": lambda: self.answer(CHUNKED + chunk(PAYLOAD) + b"0;last\r\nX-Sum: 1\r\n\r\n"),
            "/continue": lambda: self.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(PAYLOAD)),
            "/until-close": lambda: self.answer(OK + b"\r\n" + PAYLOAD, close=True),
            "/drip-sized": lambda: self.drip(sized(PAYLOAD)),
            "/drip-chunked": lambda: self.drip(CHUNKED + chunk(PAYLOAD[:9]) + chunk(PAYLOAD[9:]) + b"0\r\n\r\n"),
            "/refuse": lambda: self.answer(sized(b"{}").replace(b"200 OK", b"400 Bad Request")),
            "/close-after": lambda: self.answer(sized(PAYLOAD), close=True),
            "/close-told": lambda: self.answer(sized(PAYLOAD, b"Connection: close\r\n"), close=True),
            "/together": self.wait_for_others,
            "/never": lambda: None,
            "/hang-up": lambda: self.answer(b"", close=True),
            "/reset": self.reset,
            "/garbage": lambda: self.answer(b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
            "/bad-length": lambda: self.answer(OK + b"Content-Length: -5\r\n\r\nhello"),
            "/bad-chunk": lambda: self.answer(CHUNKED + b"zz\r\nhello\r\n"),
            "/early-end": lambda: self.answer(sized(PAYLOAD)[:-5], close=True),
            "/early-end-chunked": lambda: self.answer(CHUNKED + chunk(PAYLOAD), close=True),
            "/too-much": lambda: self.answer(sized(PAYLOAD) + b"more"),
            "/endless": lambda: self.flood(),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.seen.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if self.busy:
            self.seen.waiting -= 1
            self.seen.abandoned += 1

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head, end, rest = self.pending.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < size:
            return
        body, self.pending = rest[:size], rest[size:]
        path = head.split(b" ")[1].decode().partition("?")[0]
        if path != "/log":
            self.seen.requests.append(head.decode())
            self.seen.bodies.append(body.decode("latin-1"))
            self.seen.waiting += 1
            self.seen.most_waiting = max(self.seen.most_waiting, self.seen.waiting)
            self.busy = True
        if path.endswith("/completions"):
            self.stream(json.loads(body))
        else:
            self.routes[path]()

    def answer(self, data: bytes, *, close: bool = False) -> None:
        if self.busy:
            self.seen.waiting -= 1
        self.busy = False
        self.transport.write(data)
        if close:
            self.transport.close()

    def drip(self, data: bytes) -> None:
        """Send byte by byte, each as a packet of its own."""
        if self.gone:
            return
        if len(data) == 1:
            self.answer(data)
            return
        self.transport.write(data[:1])
        self.loop.call_later(DRIP_S, self.drip, data[1:])

    def flood(self) -> None:
        """Send chunks for as long as anybody takes them."""
        if self.gone:
            return
        if self.transport.get_write_buffer_size() < 1 << 20:
            if self.busy:
                self.answer(CHUNKED)
            self.transport.write(chunk(bytes(1 << 18)))
        self.loop.call_later(DRIP_S, self.flood)

    def reset(self) -> None:
        """Close with RST: a lingering time of zero drops the connection instead of ending it."""
        self.busy = False
        self.seen.waiting -= 1
        connection = cast("socket.socket", self.transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def wait_for_others(self) -> None:
        """Answer as soon as four requests wait."""
        self.seen.together.append(lambda: self.answer(sized(PAYLOAD)))
        if len(self.seen.together) == 4:
            for answer in self.seen.together:
                answer()
            self.seen.together.clear()

    def stream(self, request: dict[str, object]) -> None:
        begun = max(monotonic(), self.seen.free)
        self.seen.free = begun + (1 / self.seen.capacity if self.seen.capacity else 0.0)
        due = begun + self.seen.ttft
        tokens = int(str(request["max_tokens"]))
        self.loop.call_later(due - monotonic(), self.send_tokens, str(request.get("user", "")), due, 0, tokens)

    def send_tokens(self, user: str, due: float, sent: int, tokens: int) -> None:
        """Send token number `sent`, or all of them when no delay is asked for."""
        if self.gone:
            return
        now = monotonic()
        if sent == 0:
            self.first = now
        more = tokens - sent if self.seen.itl == 0 else 1
        data = (CHUNKED if sent == 0 else b"") + chunk(EVENT) * more
        sent += more
        if sent < tokens:
            self.transport.write(data)
            wait = due + sent * self.seen.itl - monotonic()
            self.loop.call_later(max(0.0, wait), self.send_tokens, user, due, sent, tokens)
        else:
            self.seen.streams.append((user, due - self.seen.ttft, self.first, now))
            self.answer(data + chunk(DONE) + b"0\r\n\r\n")


async def serve(options: argparse.Namespace) -> None:
    loop, seen = asyncio.get_running_loop(), Seen(options.ttft, options.itl, options.capacity)
    server = await loop.create_server(lambda: Stub(seen, loop), options.host, options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ttft", type=float, default=0.02)
    parser.add_argument("--itl", type=float, default=0.005)
    parser.add_argument("--capacity", type=float, default=0.0)
    options = parser.parse_args()
    if importlib.util.find_spec("uvloop") is None:
        asyncio.run(serve(options))
    else:
        import uvloop

        uvloop.run(serve(options))


if __name__ == "__main__":
    main()
