"""What passes between the load generator and its process: frames of a JSON head and a block of raw bytes."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any

from ..errors import InfrastructureError
from .traffic import ClientHealth, Exchange, Reply, Traffic

_SIZES = Struct("<IQ")


@dataclass(frozen=True, slots=True)
class Order:
    """One traffic to be driven: `agent` is the User-Agent of all its requests.

    `concurrency` is the number of slots of a closed loop, or the most that an open one may have in flight (0: any
    number); `start_s` is when to start, on the monotonic clock (0: at once).
    """

    host: str
    port: int
    agent: str
    is_open: bool
    concurrency: int
    start_s: float
    deadline_s: float
    exchanges: tuple[Exchange, ...]


def pack(head: object, parts: Iterable[bytes] = ()) -> list[bytes]:
    """The pieces of a frame, to be written one after the other."""
    text, block = json.dumps(head).encode(), b"".join(parts)
    return [_SIZES.pack(len(text), len(block)), text, block]


def unpack(read: Callable[[int], bytes]) -> tuple[Any, memoryview]:
    """Head and block of the next frame, where `read(n)` gives exactly n bytes."""
    head, block = _SIZES.unpack(read(_SIZES.size))
    return json.loads(read(head)), memoryview(read(block))


def pack_order(order: Order) -> list[bytes]:
    """The frame that asks for a traffic."""
    rows = [
        [e.id, e.method, e.path, len(e.body), e.at_s, e.cancel_after_s, e.timeout_s, e.content_type, e.after, e.think_s]
        for e in order.exchanges
    ]
    fixed = [order.host, order.port, order.agent, order.is_open, order.concurrency, order.start_s, order.deadline_s]
    head = [*fixed, rows]
    return pack(head, (exchange.body for exchange in order.exchanges))


def unpack_order(head: Any, block: memoryview) -> Order:
    """The order that `pack_order` packed."""
    host, port, agent, is_open, concurrency, start_s, deadline_s, rows = head
    exchanges, at = [], 0
    for id_, method, path, size, *rest in rows:
        exchanges.append(Exchange(id_, method, path, bytes(block[at : at + size]), *rest))
        at += size
    return Order(host, port, agent, is_open, concurrency, start_s, deadline_s, tuple(exchanges))


def pack_ready() -> list[bytes]:
    """The frame that says that the process waits for orders."""
    return pack({"ready": True})


def pack_failure(text: str) -> list[bytes]:
    """The frame of a traffic, or a start, that failed by no fault of the server."""
    return pack({"failure": text})


def pack_traffic(traffic: Traffic) -> list[bytes]:
    """The frame of a finished traffic; its block holds the stamps, the sizes and the bytes of all chunks."""
    rows = [
        [r.id, r.status, r.error, r.scheduled_s, r.sent_s, len(r.chunks), r.done_s, r.headers] for r in traffic.replies
    ]
    chunks = [chunk for reply in traffic.replies for chunk in reply.chunks]
    stamps, sizes = array("d", (at for at, _ in chunks)), array("Q", (len(part) for _, part in chunks))
    head = {"wall_s": traffic.wall_s, "health": asdict(traffic.health), "start_s": traffic.start_s, "rows": rows}
    return pack(head, [stamps.tobytes(), sizes.tobytes(), *(part for _, part in chunks)])


def unpack_traffic(head: Any, block: memoryview) -> Traffic:
    """The traffic that `pack_traffic` packed; InfrastructureError when it is a failure instead."""
    if "failure" in head:
        raise InfrastructureError(head["failure"])
    rows = head["rows"]
    count = sum(row[5] for row in rows)
    stamps, sizes = array("d", bytes(block[: 8 * count])), array("Q", bytes(block[8 * count : 16 * count]))
    bounds = pairwise(accumulate(sizes, initial=16 * count))
    chunks = zip(stamps, (bytes(block[start:end]) for start, end in bounds), strict=True)
    replies = []
    for id_, status, error, scheduled, sent, pieces, done, headers in rows:
        own = tuple(next(chunks) for _ in range(pieces))
        replies.append(Reply(id_, status, error, scheduled, sent, own, done, tuple((k, v) for k, v in headers)))
    return Traffic(tuple(replies), head["wall_s"], ClientHealth(**head["health"]), head["start_s"])
