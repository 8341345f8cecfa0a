"""What people ask of a run that is under way: `orders.jsonl`, written by `ctl` and only read by the loop."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.ledger.fold import facts_of
from vibeserve_loop.records import Budget, Order, Round, Settings

STANDING = ("pause", "resume", "stop")


class Orders:
    """The orders of one run in the order in which they came; several processes may give some at the same time."""

    def __init__(self, path: Path) -> None:
        """Take the file, which may be missing."""
        self.path = path

    def give(self, order: Order) -> int:
        """Add one order, on disk before this returns; its number, counted from 0."""
        line = order.model_dump_json().encode() + b"\n"
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                whole = self.path.read_bytes().rpartition(b"\n")[0]
                end = len(whole) + 1 if whole else 0
                os.ftruncate(handle, end)
                os.pwrite(handle, line, end)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise InfrastructureError(f"cannot write {self.path}: {error.strerror}; free some space") from error
        return whole.count(b"\n") + 1 if whole else 0

    def after(self, taken: int) -> tuple[Order, ...]:
        """The orders beyond the first `taken`; a last line that was torn is not there."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        try:
            return tuple(Order.model_validate_json(line) for line in data.split(b"\n")[:-1][taken:])
        except ValidationError as error:
            raise UsageError(f"{self.path} is damaged: {str(error).splitlines()[0]}; restore it from a copy") from None


def taken(rounds: Sequence[Round]) -> tuple[Order, ...]:
    """Every order that the run has taken in."""
    return tuple(facts_of(rounds).orders)


def standing(rounds: Sequence[Round]) -> str:
    """`pause` or `stop` while that is what was asked last, else `resume`."""
    return next((order.verb for order in reversed(taken(rounds)) if order.verb in STANDING), "resume")


def in_force(settings: Settings, rounds: Sequence[Round]) -> Budget:
    """The budgets that hold now: those of the start, changed by every order since."""
    changes = {name: value for order in taken(rounds) for name, value in order.limits}
    return Budget.model_validate({**settings.budget.model_dump(), **changes})


def steering(rounds: Sequence[Round]) -> tuple[str, ...]:
    """What people said about where to search."""
    return tuple(order.text for order in taken(rounds) if order.verb == "steer")


def told(order: Order) -> str:
    """One order in words."""
    limits = ", ".join(f"{name} {'none' if value is None else f'{value:g}'}" for name, value in order.limits)
    return " ".join(part for part in (order.verb, limits, order.text, order.item.id if order.item else "") if part)
