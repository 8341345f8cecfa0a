"""The gate and the board of a run for whoever comes from outside, whether or not a loop is at work in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from types import TracebackType

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Gate
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.broker.link import Address, Link, Ticket, find_link
from vibeserve_loop.desk.handover import Handover
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.machine.devices import Devices, devices_named
from vibeserve_loop.planning.issues import Issues
from vibeserve_loop.proposals import Item

GATE = "gate"


class RunLink:
    """Asks like a session's link, of a run: nothing is remembered from one call to the next but which gate was asked.

    The board and what waits for edits are read from the run's folder.  The gate is the broker's of the session that is
    open just then; where no loop is at work it is one of this object's own, which holds the run while a gate runs.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Take the run; nothing is started before a gate is asked for."""
        self._folder, self._issues = folder, Issues(folder)
        self._handover = Handover(folder.workspace)
        self._asked: dict[str, Link] = {}
        self._own: Link | None = None
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> RunLink:
        """Nothing is held yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop a gate that still runs."""
        self._open.close()

    def start(self, depth: str) -> Ticket:
        """Ask for a gate on the workspace as it is now; UsageError while the loop is at work and no session is open."""
        link = self._gate()
        ticket = link.start(depth)
        self._asked[ticket.id] = link
        return ticket

    def status(self, ticket: str, wait_s: float = 0.0) -> Ticket:
        """Where a question stands; UsageError when there is no such ticket, or its session has ended since."""
        link = self._asked.get(ticket)
        if link is None:
            raise UsageError(f"there is no gate {ticket!r}; `start` gives the name of one")
        try:
            return link.status(ticket, wait_s)
        except InfrastructureError:
            raise UsageError(f"gate {ticket} ended with the session that it was asked for in; ask again") from None

    def issues(self, text: str = "", state: str = "") -> tuple[Item, ...]:
        """The board's issues that hold every word of `text` and are in `state`."""
        return self._issues.all(text, state)

    def issue(self, name: str) -> Item:
        """One issue; UsageError when there is none of that name."""
        return self._issues.one(name)

    def create(self, item: Item) -> Item:
        """File an issue; UsageError when its name is taken."""
        return self._issues.create(item)

    def update(self, name: str, state: str, reason: str) -> Item:
        """Move an issue to a state."""
        return self._issues.update(name, state, reason)

    def brief(self) -> str:
        """The brief of the round that waits for edits; UsageError when none does."""
        return self._handover.told()

    def submit(self, summary: str) -> str:
        """Hand in the workspace; UsageError when nothing waits for it."""
        found = self._handover.submit(summary)
        if self._folder.owner() is None:
            return f"kept for round {found.round}: no loop is at work, `vibeserve-loop resume` takes it"
        return f"round {found.round} goes on with what was handed in"

    def _gate(self) -> Link:
        with self._lock:
            found = find_link(self._folder.workspace)
            if found is not None and _answers(found):
                return found
            if self._folder.owner() is not None:
                raise UsageError("the loop is at work and no session is open in its workspace: ask when one is")
            if self._own is None:
                self._own = Link(self._open.enter_context(_lone(self._folder)))
            return self._own


@contextlib.contextmanager
def _lone(folder: RunFolder) -> Iterator[Address]:
    """A broker of its own, compared with the incumbent of this moment."""
    settings = folder.settings()
    target = load_target(settings.target, settings.profile)
    best = lineage.incumbent(folder.history().rounds)
    rival = folder.round(best.round) / "candidate" if best else None
    gate = Gate(target, folder.path, settings.gate_command, settings.strict)
    devices = Devices(devices_named(settings.devices, target.hardware.backend))
    hold = partial(folder.locked, GATE)
    broker = Broker(gate, folder.path / "broker", Issues(folder), devices, hold=hold)
    visit = broker.visit(folder.workspace, rival if rival and rival.is_dir() else None, named=False)
    with broker.serving(), visit as address:
        yield address


def _answers(link: Link) -> bool:
    """Whether the broker is alive; a loop that was killed leaves its address behind."""
    try:
        link.issues()
    except (InfrastructureError, UsageError):
        return False
    return True
