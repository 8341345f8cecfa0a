"""One load as it was measured, and what the machine and the model say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block

REPEATING = ("sessions", "trace")
"""Arrivals whose later prompts hold earlier ones."""

UNRELATED = ("load", "fresh")
"""Kinds of request whose prompts resemble no other's."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a model's tokens cost on this machine: operations a token, operations a CPU second, CPU cores."""

    operations_per_token: float
    operations_per_cpu_s: float
    cores: int

    def cpu_s(self, tokens: int) -> float:
        """CPU seconds that so many tokens take when every operation runs at the machine's best rate."""
        return tokens * self.operations_per_token / self.operations_per_cpu_s


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, each alone on the server: its first token only, and the whole."""

    first: Answer
    whole: Answer

    @property
    def token_s(self) -> float:
        """Seconds that each later token took; infinite where an answer failed."""
        if self.first.fault or self.whole.fault:
            return inf
        longer_s = (self.whole.done_s - self.whole.sent_s) - (self.first.done_s - self.first.sent_s)
        return longer_s / max(1, self.whole.tokens - self.first.tokens)


@dataclass(frozen=True, slots=True)
class Run:
    """All blocks of one load; CPU seconds of the server in them and after them, None where they cannot be seen.

    `work` is None where the arithmetic is not known to run on this machine's CPU; `alone` are pairs asked beside the
    load, where its own streams leave open what a token costs, and `beside` answers to more of the load right before
    them: what both are compared by may not change with the machine.
    """

    load: Load
    blocks: tuple[Block, ...]
    cpu_s: float | None = None
    cpu_after_s: float | None = None
    work: Work | None = None
    alone: tuple[Pair, ...] = ()
    beside: tuple[Answer, ...] = ()

    @property
    def token_s(self) -> float:
        """Seconds that a later token of a lone answer takes (lower quartile of the pairs); infinite where unknown."""
        costs = sorted(pair.token_s for pair in self.alone)
        return costs[len(costs) // 4] if costs else inf

    @property
    def name(self) -> str:
        """The name of the load."""
        return self.load.name

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Everything that was issued, with what became of it."""
        return tuple(answer for block in self.blocks for answer in block.answers)

    @property
    def new_tokens(self) -> tuple[int, ...]:
        """Tokens of each block that nobody can have computed before: answers, and prompts that resemble no other."""
        return tuple(block.tokens + sum(self.new_prompt(answer) for answer in block.answers) for block in self.blocks)

    def new_prompt(self, answer: Answer) -> int:
        """Tokens of a prompt that no store of prefixes can know anything of; 0 where it may."""
        repeating = self.load.arrival in REPEATING or answer.request.kind not in UNRELATED
        return 0 if repeating or answer.fault else len(answer.request.prompt_ids)

    @property
    def served_s(self) -> float:
        """Seconds in which at least one request was out: an open loop has pauses in which nobody asks for anything."""
        return sum(_covered((answer.sent_s, answer.done_s) for answer in block.answers) for block in self.blocks)

    @property
    def wall_s(self) -> float:
        """Seconds of all blocks."""
        return sum(block.wall_s for block in self.blocks)


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total = end = 0.0
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
