"""Takes the chunked transfer coding (RFC 9112, section 7.1) off a stream that may be cut anywhere."""

from __future__ import annotations

import re
from functools import lru_cache

from .malformed import MalformedAnswer

FRAMING_LIMIT = 16 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class ChunkedBody:
    """One chunked body under way."""

    __slots__ = ("_left", "_pending")

    def __init__(self) -> None:
        """Begin before the first chunk's size."""
        # Bytes of the open chunk still to come, its line end included.
        self._left = 0
        # The beginning of a size line or of the trailer section; never payload, which is passed on as it comes.
        self._pending = b""

    def feed(self, data: bytes, parts: list[bytes]) -> bool:
        """Append the payload in `data` to `parts`; True when the body has ended. Raises MalformedAnswer."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        at = self._continue_chunk(data, 0, parts) if self._left else 0
        while at < len(data) and not self._left:
            end = data.find(b"\r\n", at)
            if end < 0:
                self._hold(data[at:])
                return False
            length = _chunk_size(data[at:end])
            if not length:
                return self._read_trailer(data[end:])
            at, stop = end + 2, end + 2 + length
            if data[stop : stop + 2] == b"\r\n":
                parts.append(data[at:stop])
                at = stop + 2
            else:
                self._left = length + 2
                at = self._continue_chunk(data, at, parts)
        return False

    def _continue_chunk(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take what `data` holds of the open chunk from `at` on; returns where it ends."""
        mine = data[at : at + self._left]
        payload = mine[: max(0, self._left - 2)]
        if payload:
            parts.append(payload)
        self._left -= len(mine)
        line_end = mine[len(payload) :]
        if line_end and line_end != b"\r\n"[2 - self._left - len(line_end) : 2 - self._left]:
            raise MalformedAnswer(f"a chunk does not end where it should: {line_end!r}")
        return at + len(mine)

    def _hold(self, framing: bytes) -> None:
        if len(framing) > FRAMING_LIMIT:
            raise MalformedAnswer(f"not a chunk size: {framing[:40]!r}")
        self._pending = framing

    def _read_trailer(self, data: bytes) -> bool:
        """Look for the end of the trailer section, `data` beginning with the line end of the last chunk's size."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._hold(b"0" + data)
            return False
        if end + 4 < len(data):
            raise MalformedAnswer(f"{len(data) - end - 4} bytes after the end of the answer")
        return True


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise MalformedAnswer(f"not a chunk size: {line[:40]!r}")
    return int(match[1], 16)
