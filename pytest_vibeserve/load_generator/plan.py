"""What a load generator is asked to do, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from ..errors import UsageError
from .follow_up import check_turns
from .traffic import Exchange

MARGIN_S = 1.0
"""What the client itself may take beside the waits."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Exchanges and how to send them: in a closed loop of `concurrency` slots, or each at its time.

    In an open loop `concurrency` caps how many are in flight; 0 is no cap.  `deadline_s` is when the client stops,
    whatever is still to be sent or answered.
    """

    exchanges: tuple[Exchange, ...]
    is_open: bool
    concurrency: int
    deadline_s: float = inf

    @property
    def ends_s(self) -> float:
        """When the client stops: at its deadline, or when every request has had its whole timeout."""
        return min(self.deadline_s, self.longest_s)

    @property
    def longest_s(self) -> float:
        """Seconds in which everything is sent and answered or timed out, however slow the server is.

        A session takes the timeouts and pauses of its turns; of sessions in slots the last ends no later than the sum
        of all over the slots, and the longest of them (Graham 1966).
        """
        begun: dict[int, float] = {}
        taken: dict[int, float] = {}
        head: dict[int, int] = {}
        for position, exchange in enumerate(self.exchanges):
            first = position if exchange.after is None else head[exchange.after]
            head[exchange.id] = first
            begun.setdefault(first, exchange.at_s or 0.0)
            taken[first] = taken.get(first, 0.0) + exchange.think_s + exchange.timeout_s
        if self.is_open and not self.concurrency:
            return MARGIN_S + max((begun[first] + taken[first] for first in begun), default=0.0)
        last = max(begun.values(), default=0.0) if self.is_open else 0.0
        return MARGIN_S + last + sum(taken.values()) / self.concurrency + max(taken.values(), default=0.0)


def closed(exchanges: Sequence[Exchange], concurrency: int, deadline_s: float = inf) -> Plan:
    """A closed loop; UsageError when it cannot be."""
    if concurrency < 1:
        raise UsageError(f"a closed loop needs a concurrency of at least 1, not {concurrency}")
    _check_deadline(deadline_s)
    check_turns(exchanges)
    return Plan(tuple(exchanges), False, concurrency, deadline_s)


def opened(exchanges: Sequence[Exchange], most_in_flight: int = 0, deadline_s: float = inf) -> Plan:
    """An open loop; UsageError when it cannot be."""
    if any(exchange.at_s is None and exchange.after is None for exchange in exchanges):
        raise UsageError("an open loop needs `at_s`, in seconds from the start, for each of its exchanges")
    early = next((exchange for exchange in exchanges if not 0 <= (exchange.at_s or 0.0) < inf), None)
    if early is not None:
        raise UsageError(f"exchange {early.id}: at_s must be at least 0 s from the start, not {early.at_s}")
    _check_deadline(deadline_s)
    late = next((exchange for exchange in exchanges if (exchange.at_s or 0.0) >= deadline_s), None)
    if late is not None:
        raise UsageError(
            f"exchange {late.id} is to leave {late.at_s:g} s from the start, but the client stops after"
            f" {deadline_s:g} s: raise deadline_s or leave it out"
        )
    if most_in_flight < 0:
        raise UsageError(f"most_in_flight must be at least 0 (no cap), not {most_in_flight}")
    check_turns(exchanges)
    return Plan(tuple(exchanges), True, most_in_flight, deadline_s)


def _check_deadline(deadline_s: float) -> None:
    if not deadline_s > 0:
        raise UsageError(f"deadline_s must be above 0 s from the start, not {deadline_s}")
