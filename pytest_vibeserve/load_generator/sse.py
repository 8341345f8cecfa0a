"""Server-sent events as OpenAI-like servers stream them: a JSON payload an event, `data: [DONE]` at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


def payloads(chunks: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Each payload with the arrival of the packet that completed it; ValueError when the stream breaks off."""
    pending, ended = b"", False
    for at_s, data in chunks:
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            content = line[5:].strip() if line.startswith(b"data:") else b""
            if not content:
                continue
            if content == b"[DONE]":
                ended = True
                continue
            payload = json.loads(content)
            if not isinstance(payload, dict):
                raise ValueError(f"an event is no object: {content[:60]!r}")
            yield at_s, payload
    if not ended:
        raise ValueError("the stream ended without data: [DONE]")
