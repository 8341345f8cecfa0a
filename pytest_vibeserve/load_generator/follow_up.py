"""Puts what earlier turns of a session answered into the next turn's request.

A body may hold the JSON string `"@text:ID"`, which becomes the text that the exchange of that id answered, and, inside
an array, `"@ids:ID"`, which becomes its token ids.  Both are read from the stream as OpenAI-like servers write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .sse import payloads
from .traffic import Exchange

_MARK = re.compile(rb'"@(text|ids):(\d+)"')


@dataclass(frozen=True, slots=True)
class Spoken:
    """The first choice of one answer: its text and, where the server gives them, its token ids."""

    text: str
    ids: tuple[int, ...]


def spoken(chunks: Iterable[tuple[float, bytes]]) -> Spoken | None:
    """What a streamed answer says; None when it is cut short or nothing that can be read."""
    texts: list[str] = []
    ids: list[int] = []
    try:
        for _, payload in payloads(chunks):
            for choice in payload.get("choices", ())[:1]:
                delta = choice.get("delta") or {}
                texts.append(choice.get("text") or delta.get("content") or "")
                ids.extend(choice.get("token_ids") or ())
        if not all(type(one) is int and one >= 0 for one in ids):
            return None
        return Spoken("".join(texts), tuple(ids))
    except (ValueError, TypeError, AttributeError):
        return None


def filled(body: bytes, answers: Mapping[int, Spoken]) -> bytes | None:
    """The body with every mark replaced by the answer that it names; None when that answer came without token ids."""
    wanted = [int(mark[2]) for mark in _MARK.finditer(body) if mark[1] == b"ids"]
    if not all(answers[one].ids for one in wanted):
        return None

    def answer(mark: re.Match[bytes]) -> bytes:
        said = answers[int(mark[2])]
        return json.dumps(said.text).encode() if mark[1] == b"text" else b",".join(b"%d" % one for one in said.ids)

    return _MARK.sub(answer, body)


def check_turns(exchanges: Sequence[Exchange]) -> None:
    """UsageError when a turn follows nothing, two turns follow one, or a body names an answer that it cannot have."""
    if all(exchange.after is None for exchange in exchanges):
        return
    if len({exchange.id for exchange in exchanges}) < len(exchanges):
        raise UsageError("exchanges of sessions need ids of their own; two have the same")
    before: dict[int, set[int]] = {}
    followed: set[int] = set()
    for exchange in exchanges:
        if exchange.after is None:
            before[exchange.id] = set()
            continue
        if exchange.after not in before:
            raise UsageError(f"exchange {exchange.id} comes after {exchange.after}, which is not listed before it")
        if exchange.after in followed:
            raise UsageError(f"two exchanges come after {exchange.after}; give each session ids of its own")
        if exchange.think_s < 0:
            raise UsageError(f"exchange {exchange.id}: think_s must be at least 0 s, not {exchange.think_s}")
        followed.add(exchange.after)
        before[exchange.id] = before[exchange.after] | {exchange.after}
        named = {int(mark[2]) for mark in _MARK.finditer(exchange.body)}
        if named - before[exchange.id]:
            raise UsageError(
                f"exchange {exchange.id} quotes {min(named - before[exchange.id])}, no earlier turn of its"
            )
