"""Blocks of load on one bench: fresh requests every time, and alike where blocks are to be compared."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pytest_vibeserve.bench import Bench, client_bottleneck
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.drafts import Draft, again, drawn, sent
from pytest_vibeserve.errors import CandidateFailure, InfrastructureError
from pytest_vibeserve.load_generator import Traffic
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.workload import Request

REPEATS = {"quick": 3, "full": 5}
VOID_RETRIES = 2
LARGEST_BLOCK = 2000
WARM_UP_TOKENS = 6


class Runner:
    """Blocks of one load on one bench; `rival` names a baseline, whose failures are nobody's but the machine's."""

    def __init__(self, bench: Bench, load: Load, *, pausing: bool = False, rival: str = "") -> None:
        """With `pausing` the server sleeps whenever it is not measured."""
        self._bench, self._load, self._pausing, self._rival = bench, load, pausing, rival
        seconds = load.quick_s if bench.depth == "quick" else load.full_s
        self.block_s = seconds / REPEATS[bench.depth]
        self.count = max(load.concurrency, 2)
        self.logprobs = True
        self._client_s = 0.0
        self._drafts = 0

    def cpu_s(self) -> float | None:
        """CPU seconds that server, load generator and this process have used so far; None when they cannot be seen."""
        served = self._bench.server.cpu_seconds()
        return None if served is None else served + self._client_s + time.process_time()

    def warm_up(self) -> None:
        """One discarded block at this load, from which the number of requests that fill a block is estimated.

        A rival that refuses logprobs, as generic engines may, is spared them from here on, to its advantage.
        """
        self._wake()
        streams = 1 if self._load.is_open else self._load.concurrency
        spoken = self._load.arrival == "streams"
        alone = self._load if spoken else Load(name=self._load.name, concurrency=streams)
        requests = self._bench.fresh(f"warm-up {self._load.name}", max(streams, 2))
        short = [replace(request, max_tokens=min(request.max_tokens, WARM_UP_TOKENS)) for request in requests]
        if self._rival and self._refuses_logprobs(short[0]):
            self.logprobs = False
        traffic = self._answered(Draft(tuple(short)), alone).traffic
        if self._load.is_open:
            self.count = max(2, math.ceil(self._load.rate * self.block_s))
        elif not spoken:
            asked, whole = (sum(request.max_tokens for request in some) for some in (short, requests))
            part = asked / whole if whole else 1.0
            fitting = math.ceil(len(requests) * part / max(traffic.wall_s, 1e-3) * self.block_s)
            self.count = min(max(fitting, streams, 2), LARGEST_BLOCK)
        self._rest()

    def draft(self, count: int | None = None) -> Draft:
        """A new draft of so many requests, or of as many as fill a block; of a trace, of its next window."""
        self._drafts += 1
        return drawn(self._bench, self._load, count or self.count, self.block_s, self._drafts - 1)

    def reworded(self, draft: Draft) -> Draft:
        """The same draft in fresh words; requests that are more than words and lengths are drawn anew."""
        return again(self._bench, self._load, draft)

    def block(self, draft: Draft) -> Block:
        """One measured block; a client that was the bottleneck voids it, and other words are sent instead."""
        self._wake()
        why = ""
        for attempt in range(1 + VOID_RETRIES):
            found = self._answered(self.reworded(draft) if attempt else draft, self._load)
            why = client_bottleneck(found.traffic) or ""
            if not why:
                self._rest()
                load = self._load
                return Block(found.answers, found.traffic.wall_s, load.is_open, load.slo, draft.window)
        raise InfrastructureError(f"the load client was the bottleneck {1 + VOID_RETRIES} times: {why}")

    def _answered(self, draft: Draft, load: Load) -> _Sent:
        spared = tuple(r if self.logprobs else replace(r, logprobs=None) for r in draft.requests)
        # Without a limit of its own a rival that hangs would take the longest wait for every wave of requests.
        longest = self._bench.target.limits.longest_wait_s + 2 * self.block_s if self._rival else math.inf
        with self._blaming():
            traffic, answers = sent(self._bench, load, replace(draft, requests=spared), longest)
        self._client_s += traffic.health.cpu_s
        faults = [answer.fault for answer in answers if answer.fault]
        if self._rival and faults:
            told = f"{len(faults)} of {len(answers)} requests"
            raise InfrastructureError(f"the baseline {self._rival} failed {told}: {faults[0]}")
        # What the client itself cut off was not issued, and is nobody's failure; other failures are beside it.
        cut = {reply.id for reply in traffic.replies if reply.was_stopped}
        return _Sent(traffic, tuple(answer for answer in answers if answer.request.id not in cut))

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """A rival that ends is no fault of the candidate's."""
        try:
            yield
        except CandidateFailure as failure:
            if not self._rival:
                raise
            raise InfrastructureError(f"the baseline {self._rival} stopped serving: {failure.message}") from failure

    def _refuses_logprobs(self, request: Request) -> bool:
        plain = replace(request, temperature=0.0, top_p=1.0, top_k=0)
        with_them, without = (replace(plain, id=index, logprobs=asked) for index, asked in enumerate((5, None)))
        with self._blaming():
            refused, served = self._bench.ask([with_them, without], concurrency=2)
        return refused.status // 100 == 4 and not served.fault

    def _wake(self) -> None:
        if self._pausing:
            self._bench.server.resume()

    def _rest(self) -> None:
        if self._pausing:
            self._bench.server.pause()


class Repeats:
    """A number of blocks of one server alone, each asking for something else; ends at the first that fails."""

    def __init__(self, runner: Runner, count: int) -> None:
        """The server is warm."""
        self._runner, self._count = runner, count
        self.blocks: list[Block] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be measured."""
        return len(self.blocks) >= self._count or any(block.has_failed for block in self.blocks)

    def before(self) -> None:
        """Nothing to do: nobody else has a turn."""

    def timed(self) -> None:
        """One block."""
        if not self.is_over:
            self.blocks.append(self._runner.block(self._runner.draft()))

    def after(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class _Sent:
    traffic: Traffic
    answers: tuple[Answer, ...]
