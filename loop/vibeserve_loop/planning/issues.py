"""The issue board of a run as agents and people use it: read from rounds and orders, changed by giving an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from vibeserve_loop.ledger.orders import taken
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.planning.backlog import board
from vibeserve_loop.proposals import Item, State
from vibeserve_loop.records import Order


@dataclass(frozen=True, slots=True)
class Issues:
    """The board of one run; a change is one line of `orders.jsonl`, which the run takes in with its next round."""

    folder: RunFolder

    def all(self, text: str = "", state: str = "") -> tuple[Item, ...]:
        """Issues that hold every word of `text` and are in `state`; empty takes all."""
        if state:
            _checked(state)
        words = text.lower().split()
        return tuple(
            item for item in self._board()
            if (not state or item.state == state) and all(word in item.model_dump_json().lower() for word in words)
        )  # fmt: skip

    def one(self, name: str) -> Item:
        """The issue of that name; UsageError offers the nearest."""
        known = {item.id: item for item in self._board()}
        if name not in known:
            raise UsageError(f"no issue is called {name!r}; {nearest(name, known)}")
        return known[name]

    def create(self, item: Item) -> Item:
        """File an issue; UsageError when its name is taken."""
        if any(known.id == item.id for known in self._board()):
            raise UsageError(f"an issue is called {item.id!r} already: update it, or take another name")
        return self._given(item.model_copy(update={"evidence": ()}))

    def update(self, name: str, state: str = "", reason: str = "") -> Item:
        """Move an issue to a state with a reason; UsageError when the state needs one and has none."""
        before = self.one(name)
        if state:
            _checked(state)
        try:
            changed = {"state": state or before.state, "reason": reason or before.reason}
            return self._given(Item.model_validate({**before.model_dump(), **changed}))
        except ValidationError as error:
            raise UsageError(error.errors()[0]["msg"]) from None

    def _board(self) -> tuple[Item, ...]:
        rounds = self.folder.history().rounds
        return board(rounds, self.folder.orders.after(len(taken(rounds))))

    def _given(self, item: Item) -> Item:
        self.folder.orders.give(Order(verb="issue", item=item))
        return self.one(item.id)


def _checked(state: str) -> None:
    if state not in get_args(State):
        raise UsageError(f"no state is called {state!r}; {nearest(state, get_args(State))}")
