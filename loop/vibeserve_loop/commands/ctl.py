"""Tell a run that is under way what to do; every order is on disk before the command returns."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.commands.money import check_money
from vibeserve_loop.ledger import orders
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.options import BUDGETS
from vibeserve_loop.records import Order
from vibeserve_loop.schedule import given_up

LIFTED = "none"


def budget_order(asked: Mapping[str, str | None]) -> Order:
    """New budgets from words: a number, or `none` to lift one; UsageError when nothing or nonsense was given."""
    found = [(name, _limit(name, asked[name])) for name in BUDGETS if asked.get(name) is not None]
    if not found:
        raise UsageError("budget changes nothing: give --max-rounds, --max-hours, --max-usd or --max-tokens")
    return Order(verb="budget", limits=tuple(found))


def give(folder: RunFolder, order: Order, *, now: bool = False) -> str:
    """Give an order; what will happen, in words.  With `now` the round under way is cut short and runs again later."""
    settings = folder.settings()
    if any(name == "max_usd" and value is not None for name, value in order.limits):
        check_money(settings)
    folder.orders.give(order)
    owner = folder.owner()
    if owner is None:
        return f"{orders.told(order)}: noted; no loop is at work in {folder.path}, `vibeserve-loop resume` takes it in"
    if now:
        os.kill(owner, signal.SIGTERM)
        return f"{orders.told(order)}: the loop (process {owner}) was told to stop at once"
    return f"{orders.told(order)}: noted; the loop (process {owner}) takes it in after the round under way"


def go_on(folder: RunFolder, asked: Mapping[str, Any]) -> None:
    """What `resume` means besides starting the loop: new budgets hold, and a pause, a stop or a failing is over."""
    rounds = folder.history().rounds
    pending = folder.orders.after(len(orders.taken(rounds)))
    words = {name: None if asked.get(name) is None else str(asked[name]) for name in BUDGETS}
    if any(words.values()):
        if words["max_usd"]:
            check_money(folder.settings())
        folder.orders.give(budget_order(words))
    waiting = [order.verb for order in pending if order.verb in orders.STANDING]
    if (waiting[-1] if waiting else orders.standing(rounds)) != "resume" or given_up(rounds, folder.settings()):
        folder.orders.give(Order(verb="resume"))


def _limit(name: str, word: str | None) -> float | None:
    if word == LIFTED:
        return None
    try:
        value = float(word or "")
    except ValueError:
        value = -1.0
    whole = name in ("max_rounds", "max_tokens")
    if not 0 <= value < 1e15 or (whole and value != int(value)):
        what = "a whole number" if whole else "a number"
        raise UsageError(
            f"--{name.replace('_', '-')} {word!r}: give {what}, 0 or more, or `{LIFTED}` to lift the limit"
        )
    return value
