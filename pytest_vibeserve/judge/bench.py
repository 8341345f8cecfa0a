"""What the Judge needs from whoever runs the gate."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary


class Bench(Protocol):
    """One served candidate: its target, fresh random numbers, its traffic, and where checks go."""

    target: Target
    vocabulary: Vocabulary
    depth: Literal["quick", "full"]

    def draws(self, purpose: str) -> random.Random:
        """Random numbers for one purpose, from the gate's secret."""

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        """Answers in the order of the requests; `request.id` is unique within one call."""

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        """Raw replies in the order of the exchanges."""

    def relaunched(self, model: Path) -> AbstractContextManager[Bench]:
        """The same candidate started afresh on another folder of the model, on a bench of its own, in the block."""

    def record(self, record: Check) -> None:
        """Keep a check for the report."""
