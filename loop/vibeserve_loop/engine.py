"""The walk of a run: propose, edit, commit, assess, decide, record."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from vibeserve_loop.ledger import lineage, orders
from vibeserve_loop.overlap import SIDE_BY_SIDE, Overlap
from vibeserve_loop.records import Decision, Order, Round, Step, Task
from vibeserve_loop.roles import Policy
from vibeserve_loop.schedule import next_task
from vibeserve_loop.turn import Outcome, Turn
from vibeserve_loop.walk import Walk, round_of
from vibeserve_loop.workshop import Workshop

PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Search:
    """One run, ready to go on from whatever its history holds."""

    shop: Workshop
    policy: Policy

    def events(self) -> Iterator[Step | Round]:
        """Run to the end, round by round; what is yielded is only to be shown."""
        self.shop.prepare()
        walk, overlap = Walk(self.shop, self.policy), Overlap(Walk(self.shop, self.policy))
        while (standing := (yield from self._orders(walk))) != "stop":
            if standing == "pause":
                time.sleep(PAUSE_S)
                continue
            task = next_task(self._rounds, self.shop.settings, self.policy)
            if task is None:
                break
            if self.shop.settings.workers > 1 and task.kind in SIDE_BY_SIDE:
                yield from overlap.rounds(lambda: bool(self._asked()))
                continue
            yield from self._round(walk, task)
            walk.give_up_on_void()
        self.shop.workspace.settle()

    @property
    def _rounds(self) -> tuple[Round, ...]:
        return self.shop.history.rounds

    def _asked(self) -> tuple[Order, ...]:
        """What was asked since; the first round is the starter's, whatever anybody asks."""
        rounds = self._rounds
        return self.shop.folder.orders.after(len(orders.taken(rounds))) if lineage.starter(rounds) else ()

    def _orders(self, walk: Walk) -> Generator[Step | Round, None, str]:
        """Take in what was asked since, as a round of its own; what was asked last of pause, stop and resume."""
        if asked := self._asked():
            task = Task(kind="order", hypothesis="what a person asked for", orders=asked)
            told = Decision(ruling="accept", reason="; ".join(orders.told(order) for order in asked))
            yield walk.record(round_of(self._turn(task), Outcome(told), time.time(), 0.0))
        return orders.standing(self._rounds)

    def _round(self, walk: Walk, task: Task) -> Iterator[Step | Round]:
        started, began, turn = time.time(), time.monotonic(), self._turn(task)
        outcome = yield from walk.outcome(turn)
        yield walk.record(round_of(turn, outcome, started, time.monotonic() - began))

    def _turn(self, task: Task) -> Turn:
        return Turn(len(self._rounds), task, self._rounds, self.shop.workspace)
