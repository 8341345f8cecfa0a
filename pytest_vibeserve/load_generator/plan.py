"""What a load generator is asked to do, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .follow_up import check_turns
from .traffic import Exchange

DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Exchanges and how to send them: in a closed loop of `concurrency` slots, or each at its time.

    In an open loop `concurrency` caps how many are in flight; 0 is no cap.
    """

    exchanges: tuple[Exchange, ...]
    is_open: bool
    concurrency: int
    deadline_s: float


def closed(exchanges: Sequence[Exchange], concurrency: int, deadline_s: float = DEADLINE_S) -> Plan:
    """A closed loop; UsageError when it cannot be."""
    if concurrency < 1:
        raise UsageError(f"a closed loop needs a concurrency of at least 1, not {concurrency}")
    check_turns(exchanges)
    return Plan(tuple(exchanges), False, concurrency, deadline_s)


def opened(exchanges: Sequence[Exchange], most_in_flight: int = 0, deadline_s: float = DEADLINE_S) -> Plan:
    """An open loop; UsageError when it cannot be."""
    if any(exchange.at_s is None and exchange.after is None for exchange in exchanges):
        raise UsageError("an open loop needs `at_s`, in seconds from the start, for each of its exchanges")
    early = next((exchange for exchange in exchanges if (exchange.at_s or 0.0) < 0), None)
    if early is not None:
        raise UsageError(f"exchange {early.id}: at_s must be at least 0 s from the start, not {early.at_s}")
    if most_in_flight < 0:
        raise UsageError(f"most_in_flight must be at least 0 (no cap), not {most_in_flight}")
    check_turns(exchanges)
    return Plan(tuple(exchanges), True, most_in_flight, deadline_s)
