"""A broker over the lab's gate, and a workspace to ask it about."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loop_lab import GATE, Lab

from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Gate
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.broker.link import Link, Ticket, find_link
from vibeserve_loop.broker.visits import Allowance
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.machine.devices import WHOLE, Devices
from vibeserve_loop.planning.issues import Issues

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Desk:
    """A session's workspace and its link."""

    workspace: Path
    link: Link
    broker: Broker

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.workspace / name).write_text(text)

    def asked(self, depth: str = "quick") -> Ticket:
        """Ask and wait for the end."""
        ticket = self.link.start(depth)
        until = time.monotonic() + 60
        while ticket.state in ("queued", "running") and time.monotonic() < until:
            ticket = self.link.status(ticket.id, 5)
        return ticket


def broker_of(lab: Lab, devices: Devices = WHOLE) -> Broker:
    run = lab.folder / "run"
    run.mkdir(exist_ok=True)
    target = load_target(str(lab.target))
    command = (sys.executable, "-I", "-S", "-B", str(GATE))
    return Broker(Gate(target, run, command), run / "broker", Issues(RunFolder(run)), devices)


def workspace_of(lab: Lab, name: str = "workspace") -> Path:
    found = lab.folder / "run" / name
    shutil.copytree(lab.target / "starter", found)
    return found


@contextlib.contextmanager
def desk_at(lab: Lab, allowance: Allowance | None = None) -> Iterator[Desk]:
    """One session at a broker of its own, compared with the starter."""
    with broker_of(lab).serving() as broker:
        workspace = workspace_of(lab)
        with broker.visit(workspace, lab.target / "starter", allowance):
            link = find_link(workspace)
            assert link is not None
            yield Desk(workspace, link, broker)
