from __future__ import annotations

from broker_lab import Desk, broker_of, workspace_of
from loop_lab import Lab

from vibeserve_loop.broker.link import Link
from vibeserve_loop.machine.devices import Device, Devices, usable_cores

FIRST = min(usable_cores())


def test_a_device_that_cannot_be_lent_fails_the_question_and_the_broker_goes_on(lab: Lab) -> None:
    locks = lab.folder / "locks"
    locks.write_text("no folder")
    broker, workspace = broker_of(lab, Devices([Device(cores=(FIRST,))], locks)), workspace_of(lab)
    with broker.serving(), broker.visit(workspace, lab.target / "starter") as address:
        desk = Desk(workspace, Link(address), broker)
        failed = desk.asked()
        locks.unlink()
        done = desk.asked()
    assert (failed.state, failed.answer, failed.quick_left) == ("failed", None, 8)
    assert "cannot be opened: Not a directory" in failed.reason
    assert done.state == "done"
