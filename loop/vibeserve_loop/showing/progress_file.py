"""`progress.md`: a line a round, with what it cost, for people who look into a run's folder while it goes on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.ledger.accounts import gate_s
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import Round, Step

LONGEST_WORDS = 240
HEAD = (
    "| round | ruling | measured | agent min | gate min | USD | tokens | what | why |",
    "|-|-|-|-|-|-|-|-|-|",
)


@contextlib.contextmanager
def progress_of(folder: RunFolder, target: str, rounds: Sequence[Round]) -> Iterator[Callable[[Step | Round], None]]:
    """A function that adds each round to the file, which is written anew from what is recorded when this begins.

    A round costs one short write, however many there were before.
    """
    lines = [f"# {target}, run {folder.id}", "", *HEAD, *(line_of(record) for record in rounds)]
    write_atomically(folder.progress, "\n".join(lines) + "\n")
    handle = os.open(folder.progress, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def tell(event: Step | Round) -> None:
        if isinstance(event, Round):
            _add(handle, folder.progress, line_of(event))

    try:
        yield tell
    finally:
        os.close(handle)


def line_of(record: Round) -> str:
    """One round as a row of the table."""
    spend = record.work.spend if record.work else None
    value = record.assessment.headline if record.assessment else None
    what = record.work.summary if record.work and record.task.kind != "plan" else record.task.hypothesis
    cells = (
        f"{record.round} {record.task.kind}",
        record.decision.ruling,
        f"{value.value:.1f} {value.unit}" if value else "",
        f"{spend.seconds / 60:.1f}" if spend else "",
        f"{gate_s(record) / 60:.1f}" if record.assessment else "",
        f"{spend.usd:.2f}" if spend else "",
        str(spend.tokens_in + spend.tokens_out) if spend else "",
        _words(what),
        _words(record.decision.reason),
    )
    return f"| {' | '.join(cells)} |"


def _words(text: str) -> str:
    return " ".join(text.split())[:LONGEST_WORDS].replace("|", "\\|")


def _add(handle: int, path: Path, line: str) -> None:
    try:
        os.write(handle, f"{line}\n".encode("utf-8", "replace"))
    except OSError as error:
        why = f"cannot write {path}: {error.strerror}; nothing is lost: free some space and resume"
        raise InfrastructureError(why) from error
