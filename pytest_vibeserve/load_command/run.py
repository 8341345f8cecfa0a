"""One call of the command: its levels one after the other, each told as soon as it is over."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_command import options
from pytest_vibeserve.load_command.answers import told
from pytest_vibeserve.load_command.options import Place
from pytest_vibeserve.load_command.saving import save
from pytest_vibeserve.load_command.search import Search
from pytest_vibeserve.load_command.sources import Asked, Conversations, Form, Replay, Source, Words
from pytest_vibeserve.load_generator import ShardedLoadGenerator, Traffic, arrivals
from pytest_vibeserve.loads import Slo
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.trace_windows import windows
from pytest_vibeserve.traces import Conversation, read_trace

REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Schedule:
    """How requests of an open loop arrive, and the cap on those in flight (0: none)."""

    arrival: str
    burstiness: float
    most_in_flight: int
    draws: random.Random

    def timed(self, asked: Sequence[Asked], rate: float) -> list[Asked]:
        """The requests, each at its time."""
        times = arrivals(self.arrival, rate, len(asked), self.draws, self.burstiness)
        return [replace(one, exchange=replace(one.exchange, at_s=at_s)) for one, at_s in zip(asked, times, strict=True)]


@dataclass(frozen=True, slots=True)
class Run:
    """What is sent where, at which levels, and what is kept of it."""

    place: Place
    source: Source
    schedule: Schedule
    slo: Slo
    requests: int | None
    concurrency: Sequence[int] = ()
    rates: Sequence[float] = ()
    streams: Sequence[int] = ()
    search: Search | None = None
    save_to: Path | None = None

    @classmethod
    def of(cls, place: Place, asked: Mapping[str, Any], given: set[str], draws: random.Random) -> Run:
        """What the options ask for; UsageError for what cannot be, before anything is sent."""
        schedule = Schedule(asked["arrival"], asked["burstiness"], asked["most_in_flight"] or 0, draws)
        if "burstiness" in given and asked["arrival"] != "gamma":
            raise UsageError("--burstiness says nothing without --arrival gamma")
        schedule.timed([], 1.0)
        requests = asked["requests"] or REQUESTS
        search = None
        if asked["find_rate"]:
            search = options.search(asked["find_rate"], asked["bound"], asked["probe_seconds"], requests)
        source = _source(place, asked, given, draws)
        levels = {name: options.levels(asked[name], options.flag(name)) for name in ("concurrency", "rate", "streams")}
        run = cls(
            place, source, schedule, options.slo(asked["slo"]),
            asked["requests"] or (None if asked["trace"] else REQUESTS),
            options.whole(levels["concurrency"]), levels["rate"], options.whole(levels["streams"]), search,
            asked["save_trace"],
        )  # fmt: skip
        if run.save_to and (search or run.streams or len(run.concurrency) + len(run.rates) > 1):
            raise UsageError("--save-trace keeps one level: ask for one --concurrency, one --rate or a --trace")
        if not (run.concurrency or run.rates or search or run.streams or isinstance(source, Replay)):
            raise UsageError("no load is asked for: give --concurrency, --rate, --find-rate, --trace or --streams")
        return run

    def levels(self, client: ShardedLoadGenerator, note: Callable[[str], None]) -> Iterator[dict[str, object]]:
        """Each level as it is over; `note` says what takes long."""
        for level in self.concurrency:
            asked = self.source.requests(self.requests)
            yield {"concurrency": level, **self._told(asked, self._closed(client, asked, level), False)}
        for rate in self.rates:
            asked = self.schedule.timed(self.source.requests(self.requests), rate)
            yield {"rate": rate, **self._told(asked, self._open(client, asked), True)}
        if isinstance(self.source, Replay):
            asked = self.source.requests(self.requests)
            part = {"trace": {"replayed": len(asked), "total": self.source.window.total}}
            yield {**part, **self._told(asked, self._open(client, asked), True)}
        for level in self.streams:
            yield {"streams": level, **self._spoken(level)}
        if self.search:
            note(self.search.words)
            yield self.search.found(lambda rate, count: self._probe(client, rate, count))

    def _spoken(self, level: int) -> dict[str, object]:
        # Only here and for --target: what a target needs takes seconds to import.
        from pytest_vibeserve.load_command.by_target import OfTarget

        assert isinstance(self.source, OfTarget)
        traffic, answers = self.source.streams(self.place, level)
        return told(Block(answers, traffic.wall_s, False, self.slo), traffic)

    def _probe(self, client: ShardedLoadGenerator, rate: float, count: int) -> tuple[Traffic, Block]:
        asked = self.schedule.timed(self.source.requests(count), rate)
        traffic = self._open(client, asked)
        return traffic, Block(self._answers(asked, traffic), traffic.wall_s, True)

    def _closed(self, client: ShardedLoadGenerator, asked: Sequence[Asked], concurrency: int) -> Traffic:
        return client.closed([one.exchange for one in asked], concurrency)

    def _open(self, client: ShardedLoadGenerator, asked: Sequence[Asked]) -> Traffic:
        return client.open([one.exchange for one in asked], most_in_flight=self.schedule.most_in_flight)

    def _answers(self, asked: Sequence[Asked], traffic: Traffic) -> tuple[Answer, ...]:
        return tuple(self.source.answer(one.request, reply) for one, reply in zip(asked, traffic.replies, strict=True))

    def _told(self, asked: Sequence[Asked], traffic: Traffic, is_open: bool) -> dict[str, object]:
        answers = self._answers(asked, traffic)
        kept = {"saved": save(self.save_to, asked, answers)} if self.save_to else {}
        return {**told(Block(answers, traffic.wall_s, is_open, self.slo), traffic), **kept}


def _source(place: Place, asked: Mapping[str, Any], given: set[str], draws: random.Random) -> Source:
    """Where the requests come from."""
    timeout_s = options.time(asked["timeout"], "--timeout")
    think_s = options.time(asked["think"], "--think", least=0.0)
    if asked["target"]:
        from pytest_vibeserve.load_command.by_target import OfTarget

        return OfTarget.named(asked["target"], asked["profile"], place.prefix, timeout_s, draws)
    form = Form(place.prefix, asked["chat"], asked["model"], timeout_s, draws)
    if asked["trace"]:
        return _recorded(form, read_trace(asked["trace"]), asked, given)
    turns = tuple(asked["turns"] or (1, 1))
    if turns[0] > turns[1]:
        raise UsageError(f"--turns takes the least and the most, not {turns[0]} {turns[1]}")
    if asked["turns"] and not form.is_chat:
        raise UsageError("turns follow one another as chats: add --chat")
    return Words(form, asked["words"], asked["tokens"], turns, think_s)


def _recorded(form: Form, found: Sequence[Any], asked: Mapping[str, Any], given: set[str]) -> Source:
    is_talk = isinstance(found[0], Conversation)
    options.check_shape(given, is_talk)
    if not is_talk:
        (whole,) = windows(found, asked["speedup"])
        return Replay(form, whole)
    if not form.is_chat:
        raise UsageError("conversations are chats: add --chat")
    tokens = asked["tokens"] if "tokens" in given else None
    return Conversations(form, found, tokens, options.time(asked["think"], "--think", least=0.0))
