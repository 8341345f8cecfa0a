"""A broker for a run on which no loop is at work, so that a person's own agent may use its gate and its board."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Gate
from vibeserve_loop.broker.broker import Broker
from vibeserve_loop.broker.link import Link
from vibeserve_loop.ledger import lineage
from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.planning.issues import Issues


@contextlib.contextmanager
def lone_link(folder: RunFolder) -> Iterator[Link]:
    """A link to a broker of its own; UsageError when a loop is at work in the run."""
    settings = folder.settings()
    with folder.locked():
        best = lineage.incumbent(folder.history().rounds)
        rival = folder.round(best.round) / "candidate" if best else None
        gate = Gate(load_target(settings.target, settings.profile), folder.path, settings.gate_command)
        broker = Broker(gate, folder.path / "broker", Issues(folder))
        with broker.serving(), broker.visit(folder.workspace, rival if rival and rival.is_dir() else None) as address:
            yield Link(address)
