"""A loopback server with known delays that writes down when it really wrote what.

    stub_server.py [--ttft SECONDS] [--itl SECONDS]

Token k of a request is due at the request's arrival + ttft + k * itl; with an itl of 0 all come in one write.  It
serves completions and chat, prints its port, and gives its record at /truth (and begins a new one).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from math import ceil
from time import monotonic
from typing import cast

import uvloop


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(choice: dict[str, object], **fields: object) -> bytes:
    payload = {"id": "stub-1", "object": "text_completion", "created": 1, "model": "stub", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps({**payload, **fields}, separators=(",", ":")).encode()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = {"index": 0, "text": " a", "token_ids": [17], "finish_reason": None}
DELTA = {"index": 0, "delta": {"content": " a"}, "finish_reason": None}
FRAMES = {"/v1/completions": chunk(event(TEXT)), "/v1/chat/completions": chunk(event(DELTA))}
STOP = chunk(event({"index": 0, "text": "", "delta": {}, "finish_reason": "length"}))
END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Record:
    """What really happened, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self.streams: list[tuple[float, list[float]]] = []

    def taken(self) -> bytes:
        """The record as JSON; a new one begins."""
        found = {"arrived": self.arrived, "streams": self.streams}
        self.arrived, self.streams = [], []
        return json.dumps(found).encode()


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, record: Record, delays: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        self.record, self.delays, self.loop = record, delays, loop
        self.pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        at = monotonic()
        self.pending += data
        head, end, rest = self.pending.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < size:
            return
        self.pending = rest[size:]
        path = head.split(b" ", 2)[1].decode()
        if path in FRAMES:
            self.begin(at, path, json.loads(rest[:size]))
        elif path == "/truth":
            self.send(self.record.taken())
        else:
            self.send(b'{"object":"list","data":[{"id":"stub","object":"model","created":1,"owned_by":"stub"}]}')

    def send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def begin(self, at: float, path: str, asked: dict[str, object]) -> None:
        tokens = int(str(asked.get("max_tokens") or asked.get("max_completion_tokens") or 1))
        self.record.arrived.append(at)
        usage = {"prompt_tokens": 8, "completion_tokens": tokens, "total_tokens": tokens + 8}
        last = json.dumps({"id": "stub-1", "object": "text_completion", "created": 1, "model": "stub", "choices": [],
                           "usage": usage}).encode()  # fmt: skip
        wants = cast("dict[str, object]", asked.get("stream_options") or {}).get("include_usage")
        end = STOP + (chunk(b"data: %b\n\n" % last) if wants else b"") + END
        if self.delays.itl == 0 and self.delays.ttft == 0:
            now = monotonic()
            self.transport.write(HEAD + FRAMES[path] * tokens + end)
            self.record.streams.append((at, [now, now]))
            return
        self.tick(at, [], tokens, (FRAMES[path], end))

    def tick(self, at: float, written: list[float], tokens: int, frames: tuple[bytes, bytes]) -> None:
        """Write what is due, then wait for the next."""
        wait = at + self.delays.ttft + len(written) * self.delays.itl - monotonic()
        if wait > 0:
            self.loop.call_later(ceil(1000 * wait) / 1000, self.tick, at, written, tokens, frames)
            return
        if self.transport.is_closing():
            return
        first = not written
        written.append(monotonic())
        frame, end = frames
        data = HEAD + frame if first else frame
        if len(written) == tokens:
            self.record.streams.append((at, written))
            self.transport.write(data + end)
        else:
            self.transport.write(data)
            self.tick(at, written, tokens, frames)


async def serve(delays: argparse.Namespace) -> None:
    loop, record = asyncio.get_running_loop(), Record()
    server = await loop.create_server(lambda: Stub(record, delays, loop), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ttft", type=float, default=0.0)
    parser.add_argument("--itl", type=float, default=0.0)
    uvloop.run(serve(parser.parse_args()))
