"""An incremental reader of one HTTP/1.1 answer (RFC 9112) that keeps when each piece of the body arrived."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from .chunked import ChunkedBody
from .malformed import MalformedAnswer

HEAD_LIMIT = 16 * 1024
ANSWER_LIMIT = 64 * 1024 * 1024
PACKET_COST = 256

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Answer:
    """One answer under way: feed packets with their arrival times until `feed` says that it is whole."""

    __slots__ = (
        *("_bodiless", "_chunked", "_left", "_pending", "_read"),
        *("chunks", "headers", "keep_alive", "room", "started", "status"),
    )

    def __init__(self, *, bodiless: bool = False, room: int = ANSWER_LIMIT) -> None:
        """Expect no body when `bodiless` (an answer to HEAD); `room` is how many bytes of memory may still be taken."""
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.chunks: list[tuple[float, bytes]] = []
        self.keep_alive = False
        self.started = False
        self.room = room
        self._bodiless = bodiless
        self._chunked = ChunkedBody()
        self._left = 0
        self._pending = b""
        self._read: Callable[[float, bytes], bool] = self._read_head

    def feed(self, arrival_s: float, data: bytes) -> bool:
        """Take one packet; True when the answer is whole. Raises MalformedAnswer."""
        self.started = True
        # Bytes dripped one at a time cost far more memory than their number: each packet pays for its bookkeeping.
        self.room -= len(data) + PACKET_COST
        if self.room < 0:
            raise MalformedAnswer("it is larger than the client accepts")
        return self._read(arrival_s, data)

    def end(self) -> str:
        """What is missing when the server closes the connection now; "" when the answer ends with the connection."""
        if self._read == self._read_until_close:
            return ""
        if not self.started:
            return "connection closed before an answer"
        if not self.status:
            return "connection closed within the head of the answer"
        length = sum(len(part) for _, part in self.chunks)
        return f"connection closed within the answer, after {length} bytes of its body"

    def _read_head(self, arrival_s: float, data: bytes) -> bool:
        rest = self._pending + data
        while not self.status:
            end = rest.find(b"\r\n\r\n")
            if end < 0:
                if len(rest) > HEAD_LIMIT or b"\n\n" in rest or not rest.startswith(b"HTTP/1."[: len(rest)]):
                    raise MalformedAnswer(f"not an HTTP/1.1 answer: {rest[:60]!r}")
                self._pending = rest
                return False
            head = _parsed(rest[:end])
            rest = rest[end + 4 :]
            if head.status == 101:
                raise MalformedAnswer("the server switched protocols unasked")
            self.headers = head.headers
            if head.status > 199:
                self.status = head.status
                self._choose_framing(head)
        self._pending = b""
        if self._read == self._read_sized and self._left == 0:
            return self._read_sized(arrival_s, rest)
        return bool(rest) and self._read(arrival_s, rest)

    def _choose_framing(self, head: _Head) -> None:
        self.keep_alive = head.keep_alive
        if self._bodiless or self.status in (204, 304):
            self._read = self._read_sized
        elif head.coding:
            if head.coding != ("chunked",) or head.length:
                raise MalformedAnswer(f"unexpected transfer coding {head.coding} with content length {head.length}")
            self._read = self._read_chunked
        elif head.length:
            self._left = _content_length(head.length)
            self._read = self._read_sized
        else:
            self.keep_alive = False
            self._read = self._read_until_close

    def _read_until_close(self, arrival_s: float, data: bytes) -> bool:
        self.chunks.append((arrival_s, data))
        return False

    def _read_sized(self, arrival_s: float, data: bytes) -> bool:
        beyond = len(data) - self._left
        payload = data[: self._left]
        if payload:
            self.chunks.append((arrival_s, payload))
        self._left -= len(payload)
        if beyond > 0:
            raise MalformedAnswer(f"{beyond} bytes beyond its end")
        return beyond == 0

    def _read_chunked(self, arrival_s: float, data: bytes) -> bool:
        parts: list[bytes] = []
        try:
            return self._chunked.feed(data, parts)
        finally:
            if parts:
                self.chunks.append((arrival_s, parts[0] if len(parts) == 1 else b"".join(parts)))


@dataclass(frozen=True, slots=True)
class _Head:
    """A status line with its headers, and what they say of the body and of the connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    keep_alive: bool
    coding: tuple[str, ...]
    length: tuple[str, ...]


@lru_cache(maxsize=256)
def _parsed(text: bytes) -> _Head:
    """A head; most answers of one server have the same, to the byte, and reading it would be half their cost."""
    first, *lines = text.split(b"\r\n")
    match = _STATUS.fullmatch(first)
    if match is None:
        raise MalformedAnswer(f"not an HTTP/1.1 status line: {first[:60]!r}")
    headers = tuple(_header(line) for line in lines)
    connection = _values(headers, "connection")
    keep_alive = "close" not in connection and (match[1] == b"1" or "keep-alive" in connection)
    coding, length = _values(headers, "transfer-encoding"), _values(headers, "content-length")
    return _Head(int(match[2]), headers, keep_alive, coding, length)


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or _TOKEN.fullmatch(name) is None:
        raise MalformedAnswer(f"not a header: {line[:60]!r}")
    return name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")


def _values(headers: tuple[tuple[str, str], ...], name: str) -> tuple[str, ...]:
    joined = ",".join(value for key, value in headers if key == name)
    return tuple(part.strip().lower() for part in joined.split(",") if part.strip())


def _content_length(values: tuple[str, ...]) -> int:
    first = values[0]
    if set(values) != {first} or not (first.isascii() and first.isdigit()) or len(first) > 15:
        raise MalformedAnswer(f"not a content length: {', '.join(values)[:40]!r}")
    return int(first)
