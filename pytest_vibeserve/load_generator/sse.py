"""Server-sent events as OpenAI-like servers stream them: a JSON payload an event, `data: [DONE]` at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


def lines(chunks: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """Each whole line without its end, with the arrival of the packet that completed it.

    What stands after the last line end is left out: it is no line.  The work grows with the bytes, however cut.
    """
    begun: list[bytes] = []
    for at_s, data in chunks:
        *whole, rest = data.split(b"\n")
        for line in whole:
            begun.append(line)
            yield at_s, b"".join(begun).removesuffix(b"\r")
            begun.clear()
        begun.append(rest)


def payloads(chunks: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Each payload with the arrival of the packet that completed it; ValueError when the stream breaks off.

    An event that tells of an error, and one after the end, break it too.
    """
    ended = False
    for at_s, line in lines(chunks):
        content = line[5:].strip() if line.startswith(b"data:") else b""
        if not content:
            continue
        if ended:
            raise ValueError(f"an event after data: [DONE]: {content[:60]!r}")
        if content == b"[DONE]":
            ended = True
            continue
        payload = _parsed(content)
        if not isinstance(payload, dict):
            raise ValueError(f"an event is no object: {content[:60]!r}")
        if payload.get("error"):
            raise ValueError(f"an error event: {str(payload['error'])[:120]}")
        yield at_s, payload
    if not ended:
        raise ValueError("the stream ended without data: [DONE]")


def _parsed(content: bytes) -> Any:
    """By the standard library: the load generator runs where nothing else is installed."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"an event is nested too deeply: {content[:60]!r}") from None
