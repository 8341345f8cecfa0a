"""What the session under way has paid so far, on disk after each answer of a model, for a loop that is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.report import write_atomically
from vibeserve_loop.desk.endings import spent
from vibeserve_loop.records import AgentResult, Spend
from vibeserve_loop.roles import UNLIMITED, Left

SPENT = "spent.json"


@dataclass(frozen=True, slots=True)
class Meter:
    """The file of one session, what killed sessions of the same round had spent, and what the run has left."""

    file: Path
    before: Spend
    left: Left = UNLIMITED

    def show(self, usd: float, tokens_in: int, tokens_out: int) -> None:
        """Write what all of them have spent together."""
        write_atomically(self.file, _sum(self.before, usd, tokens_in, tokens_out).model_dump_json() + "\n")

    def told(self) -> Spend:
        """What the session itself has shown, the others left out."""
        found, before = _read(self.file), self.before
        return spent(
            0.0, found.usd - before.usd, found.tokens_in - before.tokens_in, found.tokens_out - before.tokens_out
        )


RUNNING: ContextVar[Meter | None] = ContextVar("RUNNING", default=None)


@contextlib.contextmanager
def metered(folder: Path, earlier: Sequence[Path] = (), left: Left = UNLIMITED) -> Iterator[Meter]:
    """Meter the session that is begun in here; `earlier` are other rounds' folders in which it may have begun."""
    found = Spend()
    for place in (folder, *earlier):
        earlier_one = _read(place / SPENT)
        found = _sum(found, earlier_one.usd, earlier_one.tokens_in, earlier_one.tokens_out)
    spare = replace(left, usd=left.usd - found.usd, tokens=left.tokens - found.tokens_in - found.tokens_out)
    meter = Meter(folder / SPENT, found, spare)
    token = RUNNING.set(meter)
    try:
        yield meter
    finally:
        RUNNING.reset(token)


def with_lost(done: AgentResult, before: Spend) -> AgentResult:
    """The result with what killed sessions had spent; their time is nobody's."""
    spend = _sum(done.spend, before.usd, before.tokens_in, before.tokens_out)
    return done if spend == done.spend else done.model_copy(update={"spend": spend})


def _sum(spend: Spend, usd: float, tokens_in: int, tokens_out: int) -> Spend:
    return spent(spend.seconds, spend.usd + usd, spend.tokens_in + tokens_in, spend.tokens_out + tokens_out)


def _read(file: Path) -> Spend:
    try:
        return Spend.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Spend()
