"""Several client processes as one load generator, for loads beyond what one core can send and stamp."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self

from ..errors import UsageError
from .generator import GRACE_S, LoadGenerator
from .plan import Plan, closed, opened
from .traffic import ClientHealth, Exchange, Reply, Traffic

MARGIN_S = 0.1
EXCHANGE_S = 30e-6
BYTE_S = 20e-9
"""What an order costs to pack, pass and unpack, generously; who starts late all the same shows it as send delay."""


class ShardedLoadGenerator:
    """A context manager with the methods of LoadGenerator, its work dealt out to `processes` clients.

    All start at one moment of the monotonic clock, which processes of one machine share; times are merged by it.
    """

    def __init__(
        self, host: str, port: int, netns_pid: int | None = None, *, processes: int, cores: Sequence[int] = ()
    ) -> None:
        """Talk to `host`:`port` from so many processes, each kept on one of `cores` where there are any."""
        if processes < 1:
            raise UsageError(f"a load generator needs at least 1 process, not {processes}")
        kept = [*cores, *[None] * processes][:processes]
        self._shards = [LoadGenerator(host, port, netns_pid, core=core) for core in kept]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the processes."""
        with self._stack:
            for shard in self._shards:
                self._stack.enter_context(shard)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, whatever they are doing."""
        self._stack.close()

    def closed(self, exchanges: Sequence[Exchange], concurrency: int, *, deadline_s: float = inf) -> Traffic:
        """Finish all exchanges, `concurrency` at a time over all processes."""
        plan = closed(exchanges, concurrency, deadline_s)
        return self._traffic(plan, self._shards[:concurrency])

    def open(self, exchanges: Sequence[Exchange], *, most_in_flight: int = 0, deadline_s: float = inf) -> Traffic:
        """Send each exchange at its `at_s`; a cap is shared out among the processes."""
        plan = opened(exchanges, most_in_flight, deadline_s)
        return self._traffic(plan, self._shards[: most_in_flight or None])

    def _traffic(self, plan: Plan, shards: Sequence[LoadGenerator]) -> Traffic:
        shares = dealt(plan, len(shards))
        cost = EXCHANGE_S * len(plan.exchanges) + BYTE_S * sum(len(exchange.body) for exchange in plan.exchanges)
        start_s = monotonic() + MARGIN_S + cost
        for shard, share in zip(shards, shares, strict=True):
            shard.order(share.plan, start_s)
        found = [shard.collect(share.plan.ends_s + GRACE_S) for shard, share in zip(shards, shares, strict=True)]
        return merged(shares, found)


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a plan, and the positions of its exchanges in the whole."""

    plan: Plan
    positions: tuple[int, ...]


def dealt(plan: Plan, count: int) -> list[Share]:
    """The plan in `count` parts: sessions stay whole, and in an open loop neighbours in time go to different parts."""
    heads = [position for position, exchange in enumerate(plan.exchanges) if exchange.after is None]
    heads.sort(key=lambda position: plan.exchanges[position].at_s or 0.0)
    owner = {position: number % count for number, position in enumerate(heads)}
    of_id: dict[int, int] = {}
    positions: list[list[int]] = [[] for _ in range(count)]
    for position, exchange in enumerate(plan.exchanges):
        share = owner[position] if exchange.after is None else of_id[exchange.after]
        of_id[exchange.id] = share
        positions[share].append(position)
    slots = [plan.concurrency // count + (number < plan.concurrency % count) for number in range(count)]
    return [
        Share(replace(plan, exchanges=tuple(plan.exchanges[at] for at in own), concurrency=slot), tuple(own))
        for own, slot in zip(positions, slots, strict=True)
    ]


def merged(shares: Sequence[Share], found: Sequence[Traffic]) -> Traffic:
    """One traffic of the parts', its replies in the order of the whole and its times from the earliest start."""
    start = min(part.start_s for part in found)
    replies: dict[int, Reply] = {}
    for share, part in zip(shares, found, strict=True):
        by_s = part.start_s - start
        replies |= {at: _moved(reply, by_s) for at, reply in zip(share.positions, part.replies, strict=True)}
    health = ClientHealth(
        loop_lag_p99_s=max(part.health.loop_lag_p99_s for part in found),
        send_delay_p99_s=max(part.health.send_delay_p99_s for part in found),
        cpu_s=sum(part.health.cpu_s for part in found),
        cpu_share=max(part.health.cpu_share for part in found),
    )
    wall_s = max((part.start_s - start + part.wall_s for part in found if part.replies), default=0.0)
    return Traffic(tuple(replies[at] for at in sorted(replies)), wall_s, health, start)


def _moved(reply: Reply, by_s: float) -> Reply:
    if not by_s:
        return reply
    return replace(
        reply,
        scheduled_s=reply.scheduled_s + by_s,
        sent_s=reply.sent_s + by_s,
        chunks=tuple((at + by_s, part) for at, part in reply.chunks),
        done_s=reply.done_s + by_s,
    )
