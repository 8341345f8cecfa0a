"""Facts that are folded from the rounds once and grown with each new one, so that a long run costs no more a round."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vibeserve_loop.records import Order, Round

State = TypeVar("State")
LEAST_GAIN = 1e-9


class _Mine(threading.local, Generic[State]):
    """What one thread has folded: rounds side by side know of different rounds."""

    def __init__(self, begin: Callable[[], State]) -> None:
        self.seen: tuple[Round, ...] = ()
        self.state = begin()


class Growing(Generic[State]):
    """A fold that goes on from the longest beginning that it has seen; the same rounds always give the same state."""

    def __init__(self, begin: Callable[[], State], step: Callable[[State, Round], None]) -> None:
        """Take how to begin, and how to take one round in."""
        self._begin, self._step = begin, step
        self._mine: _Mine[State] = _Mine(begin)

    def __call__(self, rounds: Sequence[Round]) -> State:
        """The state after these rounds; not to be changed, and not to be kept beyond the next call."""
        whole, mine = tuple(rounds), self._mine
        if whole is mine.seen:
            return mine.state
        # Rounds that are the very same objects compare without a look inside.
        if whole[: len(mine.seen)] != mine.seen:
            mine.seen, mine.state = (), self._begin()
        for record in whole[len(mine.seen) :]:
            self._step(mine.state, record)
        mine.seen = whole
        return mine.state


@dataclass(slots=True)
class Facts:
    """Sums and indices over the rounds of a run."""

    log_gains: dict[int, float] = field(default_factory=dict)
    best: tuple[float, int] | None = None
    starter: Round | None = None
    judged: list[Round] = field(default_factory=list)
    trees: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    finals: list[Round] = field(default_factory=list)
    on_base: dict[int, list[Round]] = field(default_factory=dict)
    turns: int = 0
    idle: int = 0
    alpha: float = 0.0
    seconds: float = 0.0
    shortest_gate_s: float = math.inf
    usd: float = 0.0
    tokens: int = 0


def take_in(facts: Facts, record: Round) -> None:
    """Add one round."""
    kind, ruling = record.task.kind, record.decision.ruling
    facts.seconds += record.wall_s if record.elapsed_s is None else record.elapsed_s
    if record.assessment:
        facts.shortest_gate_s = min(facts.shortest_gate_s, record.wall_s)
    _charge(facts, record)
    facts.orders += record.task.orders
    if kind == "starter" and ruling == "accept":
        facts.starter = facts.starter or record
    if kind == "final":
        facts.finals.append(record)
    if any(order.limits or order.verb == "resume" for order in record.task.orders):
        facts.idle = 0
    if kind == "work":
        facts.turns += ruling != "void" or record.assessment is None
        facts.idle += ruling == "void" and record.assessment is None and not (record.work and record.work.exhausted)
        facts.on_base.setdefault(record.task.base, []).append(record)
        if ruling != "void":
            facts.judged.append(record)
            facts.alpha += _alpha(record)
    _rank(facts, record)
    if kind in ("starter", "work") and ruling not in ("void", "pending"):
        facts.trees[record.tree] = record.round
        if record.sketch:
            facts.sources[record.sketch.digest] = record.round


def _charge(facts: Facts, record: Round) -> None:
    """What a session spent, or may spend while it is under way."""
    if record.work:
        facts.usd += record.work.spend.usd
        facts.tokens += record.work.spend.tokens_in + record.work.spend.tokens_out
    elif record.decision.ruling == "pending" and record.task.share:
        facts.usd += record.task.share.usd or 0.0
        facts.tokens += record.task.share.tokens or 0


def _alpha(record: Round) -> float:
    compared = record.assessment.comparison if record.assessment else None
    if compared:
        return (1 - compared.confidence) / 2
    return (record.task.alpha or 0.0) if record.decision.ruling == "pending" else 0.0


def log_gain(record: Round, known: Mapping[int, float]) -> float | None:
    """Logarithm of the gain over the starter of correct code, given those of earlier rounds; None for any other."""
    kind, found = record.task.kind, record.assessment
    if kind == "starter" and record.decision.ruling == "accept":
        return 0.0
    if kind != "work" or found is None or found.outcome != "accepted":
        return None
    own = math.log(max(found.comparison.gain, LEAST_GAIN)) if found.comparison else 0.0
    return known.get(record.task.base, 0.0) + own


def _rank(facts: Facts, record: Round) -> None:
    """Gains of all correct code, and the best that was kept, the latest of equals."""
    gained = log_gain(record, facts.log_gains)
    if gained is None:
        return
    facts.log_gains[record.round] = gained
    place = (gained, record.round)
    if record.decision.ruling == "accept" and (facts.best is None or place > facts.best):
        facts.best = place


facts_of: Growing[Facts] = Growing(Facts, take_in)
