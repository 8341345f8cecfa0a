"""Rounds side by side: given out as far as there are workers, recorded in the order in which they were given out.

Which rounds one may know of when it is given out follows from the record alone, never from who was faster: the search
decides the same way on any machine, and a killed run gives out the very same tasks again.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.errors import VibeserveError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop import decision
from vibeserve_loop.ledger.accounts import share_for
from vibeserve_loop.ledger.orders import in_force
from vibeserve_loop.machine import processes
from vibeserve_loop.planning.novelty import Made, without_gate
from vibeserve_loop.records import Round, Step, Task
from vibeserve_loop.schedule import next_task
from vibeserve_loop.turn import Turn, known_to
from vibeserve_loop.walk import Walk, round_of
from vibeserve_loop.workspace import Commit, Workspace

SIDE_BY_SIDE = ("work", "plan")
"""What may be under way beside other rounds; everything else waits until nothing is, and nothing begins beside it."""
GRACE_S = 15.0


@dataclass(slots=True)
class _Lane:
    """A round under way, and where its record will be."""

    turn: Turn
    desk: int
    done: Future[Round] = field(default_factory=Future)


class Overlap:
    """Keeps as many rounds under way as the run has workers, each at a desk of its own."""

    def __init__(self, walk: Walk) -> None:
        """Take how a round is worked; no desk is made before it is needed."""
        self._walk, self._shop = walk, walk.shop
        self._under_way: list[_Lane] = []
        self._desks: dict[int, Workspace] = {}
        self._said: queue.SimpleQueue[Step | None] = queue.SimpleQueue()

    def rounds(self, asked: Callable[[], bool]) -> Iterator[Step | Round]:
        """Work until something is asked of the run or nothing more is proposed, and all that was begun is recorded."""
        processes.go_on()
        mark = time.monotonic()
        try:
            while True:
                while not asked() and (turn := self._next()) is not None:
                    self._begin(turn)
                if not self._under_way:
                    return
                yield from self._until_recorded()
                lane = self._under_way[0]
                found = self._settled(lane.done.result())
                now = time.monotonic()
                yield self._walk.record(found.model_copy(update={"elapsed_s": now - mark}))
                mark = now
                self._under_way.pop(0)
                self._walk.give_up_on_void()
        finally:
            self._abandon()

    def _next(self) -> Turn | None:
        """The next round to give out: at the first state of the record at which there is one, as if resumed or not."""
        rounds, tasks = self._shop.history.rounds, [lane.turn.task for lane in self._under_way]
        settings, number = self._shop.settings, len(rounds) + len(tasks)
        if len(tasks) >= settings.workers:
            return None
        before = [*(record.task for record in rounds), *tasks]
        least = max(_stretch(before), number - settings.workers + 1, before[-1].seen or 0)
        for seen in range(least, len(rounds) + 1):
            known = known_to(rounds[:seen], before[seen:])
            task = next_task(known, settings, self._walk.policy)
            if task is not None and task.kind in SIDE_BY_SIDE:
                limits = in_force(settings, known)
                alpha = decision.alpha_for(task, known, limits.max_rounds)
                share = share_for(limits, known, settings.workers - (number - seen))
                given = task.model_copy(update={"seen": seen, "alpha": alpha, "share": share})
                return Turn(number, given, known, self._desk())
        return None

    def _desk(self) -> Workspace:
        number = next(n for n in range(self._shop.settings.workers) if n not in {lane.desk for lane in self._under_way})
        if number not in self._desks:
            folder = self._shop.folder.path / "desks" / str(number) / "workspace"
            self._desks[number] = self._shop.workspace.beside(folder)
        return self._desks[number]

    def _begin(self, turn: Turn) -> None:
        desk = next(number for number, place in self._desks.items() if place is turn.workspace)
        lane = _Lane(turn, desk)
        self._under_way.append(lane)
        kept = _kept(self._file(turn), turn.task)
        if kept is not None and (not kept.commit or self._shop.workspace.holds(Commit(kept.commit, kept.tree))):
            lane.done.set_result(kept)
            return
        threading.Thread(target=self._worked, args=(lane,), name=f"round {turn.number}", daemon=True).start()

    def _worked(self, lane: _Lane) -> None:
        """The body of a round's thread; what goes wrong in it is raised where its record is awaited."""
        try:
            lane.done.set_result(self._finished(lane.turn))
        except VibeserveError as error:
            lane.done.set_exception(error)
        finally:
            if not lane.done.done():
                lane.done.set_exception(sys.exc_info()[1])
            self._said.put(None)

    def _finished(self, turn: Turn) -> Round:
        """The round's record, on disk before it is its turn to be recorded."""
        started, began = time.time(), time.monotonic()
        walk = self._walk.outcome(turn)
        while True:
            try:
                self._said.put(next(walk))
            except StopIteration as end:
                found = round_of(turn, end.value, started, time.monotonic() - began)
                write_atomically(self._file(turn), found.model_dump_json(by_alias=True) + "\n")
                return found

    def _file(self, turn: Turn) -> Path:
        return self._shop.folder.round(turn.number) / "done.json"

    def _until_recorded(self) -> Iterator[Step]:
        """Pass on the steps of all rounds until the oldest has come to its end."""
        while not self._under_way[0].done.done():
            step = self._said.get()
            if step is not None:
                yield step

    def _settled(self, found: Round) -> Round:
        """The record as it stands beside those that came before it: code that one of them had already is refused."""
        rounds = self._shop.history.rounds
        if found.task.kind != "work" or found.work is None or found.sketch is None or found.decision.ruling == "void":
            return found
        origin = rounds[found.task.base if found.task.start is None else found.task.start]
        made = Made(found.work, found.tree, origin.tree, found.sketch)
        known = without_gate(made, rounds, self._shop.settings.knobs.novelty)
        return found if known is None else found.model_copy(update={"decision": known, "assessment": None})

    def _abandon(self) -> None:
        """Stop what is still under way; its rounds were never recorded and begin again after a resume."""
        left = [lane for lane in self._under_way if not lane.done.done()]
        if left:
            processes.end_all()
        until = time.monotonic() + GRACE_S
        while any(not lane.done.done() for lane in left) and time.monotonic() < until:
            time.sleep(0.05)
        self._under_way.clear()


def _stretch(tasks: list[Task]) -> int:
    """Where the rounds begin that have been side by side since anything else was last recorded."""
    return next((n + 1 for n in reversed(range(len(tasks))) if tasks[n].kind not in SIDE_BY_SIDE), 0)


def _kept(path: Path, task: Task) -> Round | None:
    """The record that a killed loop left of this very task, if it came to its end."""
    try:
        found = Round.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return found if found.task == task else None
