"""One served candidate on the bench: its process, its traffic, and the records made of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from pytest_vibeserve.completions import Answer, answer, exchange
from pytest_vibeserve.errors import CandidateFailure
from pytest_vibeserve.load_generator import Exchange, LoadGenerator, Reply, Traffic, bottleneck
from pytest_vibeserve.profiler import Observation
from pytest_vibeserve.report import Ceiling, Check, Comparison, Hint, Measurement
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Secret, Vocabulary, Workload

Record = Check | Measurement | Comparison | Hint | Ceiling
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


@dataclass(frozen=True, slots=True)
class Contract:
    """What every part of a gate shares: the target, its model and vocabulary, the secret, how deep to look."""

    target: Target
    model: Path
    vocabulary: Vocabulary
    secret: Secret
    depth: Depth
    deadline: float

    @property
    def remaining_s(self) -> float:
        """Seconds until the target's wall limit."""
        return self.deadline - time.monotonic()


class Bench:
    """Sends requests to one server and reads what comes back; records go to one callback."""

    def __init__(self, contract: Contract, server: Served, record: Callable[[Record], None]) -> None:
        """Start the load generator beside the server."""
        self.contract, self.server, self._record = contract, server, record
        self.target, self.vocabulary, self.depth = contract.target, contract.vocabulary, contract.depth
        self.generator = LoadGenerator(server.host, server.port, server.netns_pid)
        self.generator.__enter__()
        self._purposes: dict[str, int] = {}
        self.observed: dict[str, Observation] = {}

    def close(self) -> None:
        """End the load generator; the server is its owner's."""
        self.generator.__exit__(None, None, None)

    def record(self, record: Record) -> None:
        """Keep a check or a measurement for the report."""
        self._record(record)

    def draws(self, purpose: str) -> random.Random:
        """Random numbers for one purpose; asked for twice, the second stream is a fresh one."""
        count = self._purposes[purpose] = self._purposes.get(purpose, 0) + 1
        return self.contract.secret.stream(f"{purpose}/{count}")

    def fresh(self, purpose: str, count: int) -> list[Request]:
        """Fresh requests by the target's mix."""
        return list(islice(Workload(self.target, self.vocabulary, self.draws(purpose)).requests(), count))

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        """Answers in the order of the requests, sent in a closed loop."""
        return self.answers(requests, self.send_closed(requests, concurrency))

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        """Raw replies to raw exchanges, in their order."""
        replies = {reply.id: reply for reply in self.send(exchanges, concurrency).replies}
        return [replies[exchange.id] for exchange in exchanges]

    def send_closed(self, requests: Sequence[Request], concurrency: int) -> Traffic:
        """Traffic of requests in a closed loop."""
        limit = self.target.limits.longest_wait_s
        return self.send([exchange(request, limit) for request in requests], concurrency)

    def send(self, exchanges: Sequence[Exchange], concurrency: int) -> Traffic:
        """Traffic of a closed loop."""
        return self._checked(self.generator.closed(list(exchanges), concurrency))

    def send_on_schedule(self, requests: Sequence[Request], arrivals: Iterable[float]) -> Traffic:
        """Traffic of an open loop; `arrivals` are seconds from its start."""
        limit = self.target.limits.longest_wait_s
        return self._checked(
            self.generator.open([exchange(r, limit, at) for r, at in zip(requests, arrivals, strict=True)])
        )

    def answers(self, requests: Sequence[Request], traffic: Traffic) -> list[Answer]:
        """The traffic's replies as answers, in the order of the requests."""
        replies = {reply.id: reply for reply in traffic.replies}
        return [answer(request, replies[request.id], self.vocabulary) for request in requests]

    def _checked(self, traffic: Traffic) -> Traffic:
        faults = [reply.error for reply in traffic.replies if reply.error]
        deadline = time.monotonic() + (ENDING_S if faults else 0)
        while self.server.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self.server.alive():
            raise CandidateFailure("service.alive", "the server ended while in service", faults[0] if faults else "")
        return traffic


def client_bottleneck(traffic: Traffic) -> str | None:
    """Why the client, not the server, was measured; None when it kept up."""
    return bottleneck(traffic.health)
