from __future__ import annotations

import threading
from pathlib import Path

import pytest
from round_lab import a_round, starter

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.ledger.orders import Orders, in_force, standing, steering, told
from vibeserve_loop.records import Order, Round, Settings, Task

SETTINGS = Settings(id="run", created=0, target="lab", max_rounds=5, max_usd=1.0)


def _taken(*orders: Order) -> list[Round]:
    return [starter(), *(a_round(n, Task(kind="order", orders=(o,)), ruling="accept") for n, o in enumerate(orders, 1))]


def test_orders_of_many_at_once_are_all_kept(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "orders.jsonl")
    words = [f"{who}/{number}" for who in range(4) for number in range(10)]

    def speak(who: int) -> None:
        for number in range(10):
            Orders(orders.path).give(Order(verb="steer", text=f"{who}/{number}"))

    threads = [threading.Thread(target=speak, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order.text for order in orders.after(0)) == sorted(words)
    assert len(orders.after(38)) == 2


def test_the_last_word_on_going_on_counts() -> None:
    pause, resume, stop = (Order(verb=verb) for verb in ("pause", "resume", "stop"))
    assert standing(_taken()) == "resume"
    assert standing(_taken(pause, Order(verb="steer", text="x"))) == "pause"
    assert standing(_taken(pause, resume)) == "resume"
    assert standing(_taken(resume, stop)) == "stop"


def test_budgets_are_those_of_the_start_with_every_change_since() -> None:
    raised = Order(verb="budget", limits=(("max_rounds", 9.0), ("max_tokens", 100.0)))
    lifted = Order(verb="budget", limits=(("max_usd", None),))
    found = in_force(SETTINGS, _taken(raised, lifted))
    assert (found.max_rounds, found.max_usd, found.max_tokens, found.max_hours) == (9, None, 100, None)
    assert told(raised) == "budget max_rounds 9, max_tokens 100"
    assert told(lifted) == "budget max_usd none"


def test_what_was_said_stays_said() -> None:
    said = [Order(verb="steer", text=text) for text in ("first", "second")]
    assert steering(_taken(*said)) == ("first", "second")


def test_orders_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text('{"verb": "dance"}\n')
    with pytest.raises(UsageError, match=r"orders\.jsonl is damaged"):
        Orders(path).after(0)
