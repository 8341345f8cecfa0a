"""One served candidate on the bench: its process, its traffic, and the records made of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Literal, Protocol

import pytest

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import CandidateFailure, Inconclusive
from pytest_vibeserve.insight import Insight
from pytest_vibeserve.integrity import idle_rate
from pytest_vibeserve.load_generator import Exchange, LoadGenerator, Reply, Traffic, bottleneck
from pytest_vibeserve.profiler import Observation
from pytest_vibeserve.report import Ceiling, Check, Comparison, Distribution, Hint, Measurement
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Secret, Vocabulary

Record = Check | Measurement | Comparison | Hint | Ceiling | Distribution | Insight
Depth = Literal["quick", "full"]
ENDING_S = 1.0
"""A connection that breaks is seen before the end of the process behind it."""


class Served(Protocol):
    """A server that answers: started by the gate, or found at a URL."""

    @property
    def host(self) -> str:
        """The address it listens on."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    @property
    def netns_pid(self) -> int | None:
        """A process in its network namespace, None where it shares the gate's."""

    @property
    def isolation(self) -> str:
        """How it is kept apart, in words."""

    def alive(self) -> bool:
        """Whether it still runs."""

    def cpu_seconds(self) -> float | None:
        """CPU seconds of all its processes so far, None when they cannot be seen."""

    def memory_bytes(self) -> int | None:
        """Resident bytes of all its processes, None when they cannot be seen."""

    def pause(self) -> None:
        """Stop all its processes where they are."""

    def resume(self) -> None:
        """Let them go on."""


class Wire(Protocol):
    """How the requests of a modality travel."""

    def fresh(self, draws: random.Random, count: int) -> list[Request]:
        """Fresh requests, numbered from 0."""

    def exchange(self, request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
        """The exchange of a request."""

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""


class Launcher(Protocol):
    """Starts the same candidate once more on a folder of the model; `hook` is a folder of the profiled pass."""

    def __call__(self, model: Path, hook: Path | None = None) -> AbstractContextManager[Served]:
        """The server, for as long as the context lasts."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What every part of a gate shares: the target, its model and vocabulary, the secret, how deep to look."""

    target: Target
    model: Path
    vocabulary: Vocabulary
    secret: Secret
    wire: Wire
    depth: Depth
    deadline: float
    wire_of: Callable[[Target, Vocabulary, Path], Wire]

    def over(self, model: Path) -> Contract:
        """The same contract over another copy of the model, whose words may have other numbers."""
        vocabulary = Vocabulary(model)
        return replace(self, model=model, vocabulary=vocabulary, wire=self.wire_of(self.target, vocabulary, model))

    def allow(self, longest_s: float = 0.0) -> float:
        """Seconds left of the target's wall limit; Inconclusive where they are no more than what is needed."""
        left_s = self.deadline - time.monotonic()
        if left_s <= longest_s:
            raise self.spent()
        return left_s

    def spent(self) -> Inconclusive:
        """What is to be said when the wall limit is spent."""
        limit = self.target.limits.wall_s
        return Inconclusive(f"the {limit:g} s of limits.wall_s are spent before everything was asked")


class Bench:
    """Sends requests to one server and reads what comes back; records go to one callback."""

    def __init__(
        self,
        contract: Contract,
        server: Served,
        record: Callable[[Record], None],
        launch: Launcher | None = None,
        standing: Callable[[], Served] | None = None,
    ) -> None:
        """Start the load generator beside the server; `launch` starts the same candidate once more.

        `standing` says which server is this bench's after that: its own may have had to make room.
        """
        self.contract, self.server, self._record, self._launch = contract, server, record, launch
        self.target, self.vocabulary, self.depth = contract.target, contract.vocabulary, contract.depth
        self._standing = standing
        self.generator = LoadGenerator(server.host, server.port, server.netns_pid)
        self.generator.__enter__()
        self._purposes: dict[str, int] = {}
        self.observed: dict[str, Observation] = {}
        self.idle_rate = 0.0

    def close(self) -> None:
        """End the load generator; the server is its owner's."""
        self.generator.__exit__(None, None, None)

    def record(self, record: Record) -> None:
        """Keep a check or a measurement for the report."""
        self._record(record)

    @contextmanager
    def relaunched(self, model: Path, hook: Path | None = None) -> Iterator[Bench]:
        """The candidate started afresh on a folder of the model, in the block; skips where it cannot be started.

        `hook` is shown to it as the folder of the profiled pass.
        """
        if self._launch is None:
            pytest.skip("a server that already runs cannot be started again on other weights")
        contract = self.contract if model == self.contract.model else self.contract.over(model)
        try:
            with self._launch(model, hook) as server, closing(Bench(contract, server, self._record)) as bench:
                yield bench
        finally:
            self._follow()

    def _follow(self) -> None:
        """Go over to the server that stands in the place of this bench's own, where that had to make room."""
        server = self.server if self._standing is None else self._standing()
        if server is not self.server:
            self.close()
            self.server, self.generator = server, LoadGenerator(server.host, server.port, server.netns_pid)
            self.generator.__enter__()

    def notice_idling(self) -> None:
        """Learn what CPU time the server uses when it has nothing to do, before it has seen more than one request."""
        self.send_closed([replace(self.fresh("idle", 1)[0], max_tokens=1)], 1)
        self.idle_rate = idle_rate(self.server.cpu_seconds)

    def draws(self, purpose: str) -> random.Random:
        """Random numbers for one purpose; asked for twice, the second stream is a fresh one."""
        count = self._purposes[purpose] = self._purposes.get(purpose, 0) + 1
        return self.contract.secret.stream(f"{purpose}/{count}")

    def fresh(self, purpose: str, count: int) -> list[Request]:
        """Fresh requests by the target's mix."""
        return self.contract.wire.fresh(self.draws(purpose), count)

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        """Answers in the order of the requests, sent in a closed loop."""
        return self.answers(requests, self.send_closed(requests, concurrency))

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        """Raw replies to raw exchanges, in their order."""
        replies = {reply.id: reply for reply in self.send(exchanges, concurrency).replies}
        return [replies[exchange.id] for exchange in exchanges]

    def send_closed(self, requests: Sequence[Request], concurrency: int, deadline_s: float = inf) -> Traffic:
        """Traffic of requests in a closed loop; the client stops at the deadline, or else when each had its time."""
        limit = self.target.limits.longest_wait_s
        wire = self.contract.wire
        return self.send([wire.exchange(request, limit) for request in requests], concurrency, deadline_s)

    def send(self, exchanges: Sequence[Exchange], concurrency: int, deadline_s: float = inf) -> Traffic:
        """Traffic of a closed loop."""
        left_s = self.contract.allow()
        ends_s = min(deadline_s, left_s)
        found = self.checked(self.generator.closed(list(exchanges), concurrency, deadline_s=ends_s))
        return self._complete(found) if ends_s == left_s else found

    def send_on_schedule(
        self, requests: Sequence[Request], arrivals: Iterable[float], most_in_flight: int = 0
    ) -> Traffic:
        """Traffic of an open loop; `arrivals` are seconds from its start, and 0 is no cap on those in flight."""
        times = list(arrivals)
        left_s = self.contract.allow(max(times, default=0.0))
        limit = self.target.limits.longest_wait_s
        exchanges = [self.contract.wire.exchange(r, limit, at) for r, at in zip(requests, times, strict=True)]
        found = self.generator.open(exchanges, most_in_flight=most_in_flight, deadline_s=left_s)
        return self._complete(self.checked(found))

    def answers(self, requests: Sequence[Request], traffic: Traffic) -> list[Answer]:
        """The traffic's replies as answers, in the order of the requests."""
        replies = {reply.id: reply for reply in traffic.replies}
        return [self.contract.wire.answer(request, replies[request.id]) for request in requests]

    def _complete(self, traffic: Traffic) -> Traffic:
        """Traffic that had until the wall limit: Inconclusive where only that ended it, not the server's failures."""
        ended = [reply for reply in traffic.replies if reply.error and not reply.cancelled]
        if ended and all(reply.was_stopped for reply in ended):
            raise self.contract.spent()
        return traffic

    def checked(self, traffic: Traffic) -> Traffic:
        """The traffic; CandidateFailure where the server ended under it."""
        faults = [reply.error for reply in traffic.replies if reply.error and not reply.cancelled]
        deadline = time.monotonic() + (ENDING_S if faults else 0)
        while self.server.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self.server.alive():
            raise CandidateFailure("service.alive", "the server ended while in service", faults[0] if faults else "")
        return traffic


def client_bottleneck(traffic: Traffic) -> str | None:
    """Why the client, not the server, was measured; None when it kept up."""
    return bottleneck(traffic.health)
