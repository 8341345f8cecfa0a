"""What the requests of every modality have in common: they are drawn, they travel, and their replies say something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytest_vibeserve.bench import Wire
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.workload import Request

__all__ = ["Address", "ServedBench", "Wire", "asked"]


class Address(Protocol):
    """Where a server listens."""

    @property
    def host(self) -> str:
        """The address it listens on."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    @property
    def netns_pid(self) -> int | None:
        """A process in its network namespace, None where it shares the gate's."""


class ServedBench(Bench, Protocol):
    """A bench that says where its server listens, for clients that speak more than HTTP."""

    @property
    def server(self) -> Address:
        """The server."""


def asked(bench: Bench, wire: Wire, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
    """Answers in the order of the requests."""
    limit = bench.target.limits.longest_wait_s
    replies = bench.exchange([wire.exchange(request, limit) for request in requests], concurrency)
    return [wire.answer(request, reply) for request, reply in zip(requests, replies, strict=True)]
