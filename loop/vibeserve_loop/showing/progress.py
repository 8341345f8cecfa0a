"""What is shown while a run goes on: a live table, plain lines, or one JSON event a line."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from pytest_vibeserve.target import Target
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.accounts import left_of
from vibeserve_loop.ledger.orders import in_force
from vibeserve_loop.options import masked_text
from vibeserve_loop.records import Round, Settings, Step, plain
from vibeserve_loop.showing.page import Ending

Show = Callable[[Step | Round], None]


@contextlib.contextmanager
def showing(settings: Settings, target: Target, done: Iterable[Round], *, as_json: bool) -> Iterator[Show]:
    """A function that shows each event in the way that suits standard output."""
    if as_json:
        yield _show_json
    elif sys.stdout.isatty():
        from vibeserve_loop.showing.live import LiveTable

        with LiveTable(settings, target, list(done)) as table:
            yield table.show
    else:
        yield _Lines(sys.stdout, list(done)).show


def emit(event: str, **fields: object) -> None:
    """One JSON object on a line of standard output."""
    sys.stdout.write(json.dumps({"event": event, **fields}, default=str) + "\n")
    sys.stdout.flush()


def show_ending(found: Ending, *, as_json: bool) -> None:
    """The last page, or one event with everything that is on it."""
    if as_json:
        emit("end", **plain(found))
    else:
        sys.stdout.write(f"\n{found.page}")


def told(record: Round) -> str:
    """One round in one line."""
    what = record.work.summary if record.work and record.task.kind != "plan" else record.task.hypothesis
    value = record.assessment.headline if record.assessment else None
    measured = f" {value.value:.1f} {value.unit}" if value else ""
    name = f"round {record.round:>2} {record.task.kind:<8} {record.decision.ruling:<6}"
    person = f"  needs a person: {why}" if record.assessment and (why := record.assessment.needs_person) else ""
    return f"{name} {record.wall_s:5.0f} s {measured}  {what}  ({record.decision.reason}){person}"


def standing(rounds: list[Round]) -> str:
    """The incumbent and its gain over the starter; the quick gates' word, until the final."""
    best = lineage.incumbent(rounds)
    if best is None:
        return "no incumbent yet"
    value = best.assessment.headline if best.assessment else None
    measured = f", {value.value:.1f} {value.unit} [{value.low:.1f}, {value.high:.1f}]" if value else ""
    if best.task.kind == "starter":
        return f"round {best.round} (starter){measured}"
    return f"round {best.round}{measured}, {gain_text(*lineage.gain_over_starter(rounds, best))} over the starter"


def remaining(settings: Settings, rounds: list[Round]) -> str:
    """What the budgets that hold now leave, in words; empty when there is no budget."""
    return left_of(in_force(settings, rounds), rounds)


class _Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, stream: TextIO, rounds: list[Round]) -> None:
        self._stream, self._rounds, self._began = stream, rounds, time.monotonic()

    def show(self, event: Step | Round) -> None:
        """Print one line, two after a round that was kept."""
        if isinstance(event, Step):
            self._say(f"round {event.round:>2} {event.phase}: {event.text}")
            return
        self._rounds.append(event)
        self._say(told(event))
        if event.decision.ruling == "accept" and event.task.kind == "work":
            self._say(f"incumbent: {standing(self._rounds)}")

    def _say(self, line: str) -> None:
        elapsed = time.monotonic() - self._began
        self._stream.write(f"[{int(elapsed) // 60:>3}:{int(elapsed) % 60:02}] {line}\n")
        self._stream.flush()


def _show_json(event: Step | Round) -> None:
    sys.stdout.write(_with_event(event) + "\n")
    sys.stdout.flush()


def _with_event(event: Step | Round) -> str:
    if isinstance(event, Step):
        return json.dumps({"event": "step", **plain(event)})
    return json.dumps({"event": "round", **table_of(event)})


def table_of(record: Round) -> dict[str, Any]:
    """A round for whoever reads JSON, nothing secret in the words of its agent."""
    task = record.task.model_copy(update={"agent": masked_text("agent", record.task.agent)})
    found: dict[str, Any] = plain(record.model_copy(update={"task": task}))
    return found
