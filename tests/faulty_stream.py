"""A server of which every second completion goes its own way: `faulty_stream.py WAY...`, in turn; prints its port."""

from __future__ import annotations

import itertools
import json
import socketserver
import sys
import time
from collections.abc import Callable

TOKENS = 4
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"
HUGE = 12 * 1024 * 1024
PACKET = 4096

Send = Callable[[bytes], None]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str = " a") -> bytes:
    choice = {"index": 0, "text": text, "token_ids": [17], "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def whole(send: Send) -> None:
    send(HEAD + chunk(event()) * TOKENS + chunk(DONE) + LAST)


def silent(send: Send) -> None:
    """Stops answering half-way, the connection open."""
    send(HEAD + chunk(event()) * 2)
    time.sleep(30)


def slow_head(send: Send) -> None:
    """A head that comes a byte at a time."""
    for at in range(len(HEAD)):
        send(HEAD[at : at + 1])
        time.sleep(0.2)


def error_body(send: Send) -> None:
    body = b'{"error": {"message": "out of memory", "code": "oom"}}'
    send(JSON_HEAD % (len(body), body))


def split_letters(send: Send) -> None:
    """Letters of several bytes, cut in the middle: nothing is wrong with that."""
    data = event("\u00e9\u4e2d\U0001f600") * TOKENS
    send(HEAD)
    for byte in data:
        send(chunk(bytes([byte])))
    send(chunk(DONE) + LAST)


def huge_line(send: Send) -> None:
    """One event of many megabytes in small packets: it costs the client no more than its length."""
    send(HEAD)
    data = event("a" * HUGE)
    for at in range(0, len(data), PACKET):
        send(chunk(data[at : at + PACKET]))
    send(chunk(DONE) + LAST)


WAYS: dict[str, Callable[[Send], None]] = {
    "cut": lambda send: send(HEAD + chunk(event()) * 2),
    "cut-within-an-event": lambda send: send(HEAD + chunk(event()[:20])),
    "silent": silent,
    "slow-head": slow_head,
    "error-body": error_body,
    "error-event": lambda send: send(HEAD + chunk(event()) + chunk(b'data: {"error": "oom"}\n\n' + DONE) + LAST),
    "no-token": lambda send: send(HEAD + chunk(DONE) + LAST),
    "no-end-mark": lambda send: send(HEAD + chunk(event()) * TOKENS + LAST),
    "two-end-marks": lambda send: send(HEAD + chunk(event()) * TOKENS + chunk(DONE) * 2 + LAST),
    "more-after-the-end": lambda send: send(HEAD + chunk(event()) + chunk(DONE) + chunk(event()) + LAST),
    "junk-chunk": lambda send: send(HEAD + chunk(event()) + b"zz\r\njunk\r\n"),
    "half-a-letter": lambda send: send(HEAD + chunk(event("\u00e9").replace(b"\xa9", b"")) + chunk(DONE) + LAST),
    "deep": lambda send: send(HEAD + chunk(b"data: " + b"[" * 100_000 + b"\n\n") + chunk(DONE) + LAST),
    "no-object": lambda send: send(HEAD + chunk(b"data: 7\n\n") + chunk(DONE) + LAST),
    "split-letters": split_letters,
    "huge-line": huge_line,
    "closes": whole,
}
CLOSES = ("cut", "cut-within-an-event", "closes")
COUNT = itertools.count()


class Talk(socketserver.StreamRequestHandler):
    """One connection; every second request that the server sees is answered its way."""

    def handle(self) -> None:
        ways = sys.argv[1:]
        while request := self.rfile.readline():
            length = 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)
            assert request.startswith(b"POST")
            turn, is_odd = divmod(next(COUNT), 2)
            way = ways[turn % len(ways)] if is_odd else ""
            WAYS.get(way, whole)(self.connection.sendall)
            if way in CLOSES:
                return


class Server(socketserver.ThreadingTCPServer):
    """Lets a client that went away go."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is what is being tried."""


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Talk) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
