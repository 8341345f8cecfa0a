"""Carry a run through to its end, show it, and leave cleanly when asked to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from pytest_vibeserve.errors import ExitCode, VibeserveError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.commands.start import opened
from vibeserve_loop.engine import Search
from vibeserve_loop.ledger import orders
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.options import Sinks
from vibeserve_loop.showing.events import told_to
from vibeserve_loop.showing.page import ending
from vibeserve_loop.showing.progress import emit, show_ending, showing
from vibeserve_loop.showing.progress_file import progress_of

LONGEST_WORD = 300


def follow(folder: RunFolder, sinks: Sinks, as_json: bool, before: Callable[[], None] | None = None) -> ExitCode:
    """Go on until nothing is left to do or someone interrupts; the run's exit code."""
    stop = _Stop()
    how = f"vibeserve-loop resume {folder.path}"
    with opened(folder) as search:
        if before:
            before()
        if as_json:
            emit("run", run=folder.id, path=str(folder.path), rounds=len(search.shop.history.rounds))
        _remark(search)
        try:
            _carry_on(search, sinks, as_json)
        except (KeyboardInterrupt, VibeserveError) as error:
            print(f"{'stopped' if stop.asked else 'ended early'}; to go on: {how}", file=sys.stderr)
            _leave_page(search, "was interrupted" if stop.asked else f"ended early ({str(error)[:LONGEST_WORD]})")
            if isinstance(error, VibeserveError) and not stop.asked:
                raise
            if as_json:
                emit("interrupted", resume=how)
            return ExitCode.INTERRUPTED
        if orders.standing(search.shop.history.rounds) == "stop":
            print(f"stopped as ordered; to go on: {how}", file=sys.stderr)
        found = ending(folder, search.shop.history.rounds, search.shop.target)
    write_atomically(folder.page, found.page)
    show_ending(found, as_json=as_json)
    return ExitCode(found.exit_code)


def _carry_on(search: Search, sinks: Sinks, as_json: bool) -> None:
    shop = search.shop
    with (
        showing(shop.settings, shop.target, shop.history.rounds, as_json=as_json) as show,
        told_to(sinks, shop.settings, shop.folder.log) as tell,
        progress_of(shop.folder, shop.target.name, shop.history.rounds) as note,
    ):
        for event in search.events():
            note(event)
            tell(event)
            show(event)


def _leave_page(search: Search, early: str) -> None:
    """The page of a run that did not come to its end, so that its account is not lost with it."""
    shop = search.shop
    if shop.history.rounds:
        write_atomically(shop.folder.page, ending(shop.folder, shop.history.rounds, shop.target, early).page)


def _remark(search: Search) -> None:
    settings = search.shop.settings
    if search.shop.history.note:
        print(search.shop.history.note, file=sys.stderr)
    if settings.sandbox == "none":
        print("note: agents run without a sandbox; `vibeserve-loop doctor` says how to get one", file=sys.stderr)
    where, seed = search.shop.folder.path, settings.seed
    print(f"run {search.shop.folder.id} in {where}, seed {seed}, sandbox {settings.sandbox}", file=sys.stderr)


class _Stop:
    """Remembers that SIGINT or SIGTERM came, for a child that dies of the same signal must not be blamed."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt
