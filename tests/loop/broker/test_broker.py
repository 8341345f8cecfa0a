from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from broker_lab import Desk, broker_of, desk_at, workspace_of
from loop_lab import Lab

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.broker.link import Address, Link, find_link, told
from vibeserve_loop.broker.visits import Allowance
from vibeserve_loop.machine.devices import Device, Devices, usable_cores

FIRST = min(usable_cores())


def _slow(lab: Lab, seconds: float) -> None:
    (lab.target / "slow").write_text(str(seconds))


def _gates_alive(lab: Lab) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(lab.folder) in words and "fake_gate.py" in words:
            found.append(words)
    return found


def test_the_gate_answers_a_session_with_the_public_part(lab: Lab) -> None:
    with desk_at(lab) as desk:
        desk.write(speed="250")
        ticket = desk.asked()
    assert ticket.state == "done", ticket
    assert ticket.answer is not None
    assert ticket.answer.outcome == "accepted"
    assert ticket.answer.comparison is not None
    assert ticket.answer.comparison.gain == 2.5
    assert [hint.name for hint in ticket.answer.hints] == ["serial-service", "step-overhead", "idle-cores"]
    assert ticket.quick_left == 7
    told = ticket.model_dump_json()
    assert str(lab.folder) not in told
    assert "reveal" not in told
    assert all(measured.samples == () for measured in ticket.answer.measurements)


def test_a_rejection_names_what_failed(lab: Lab) -> None:
    with desk_at(lab) as desk:
        desk.write(wrong="")
        answer = desk.asked().answer
    assert answer is not None
    assert (answer.outcome, answer.failed[0].name) == ("rejected", "answers.greedy")


def test_what_may_not_be_asked_again_is_refused_and_said(lab: Lab) -> None:
    with desk_at(lab, Allowance(quick=1, full=0)) as desk:
        assert desk.asked().state == "done"
        desk.write(speed="120")
        again = desk.link.start("quick")
        assert (again.state, again.quick_left) == ("refused", 0)
        assert "used up" in again.reason
        assert desk.link.start("full").state == "refused"


def test_the_same_code_is_answered_from_the_cache_and_costs_nothing(lab: Lab) -> None:
    with desk_at(lab) as desk:
        first, second = desk.asked(), desk.asked()
        desk.write(speed="101")
        third = desk.asked()
    assert first.answer is not None
    assert second.answer is not None
    assert (first.answer.cached, second.answer.cached, second.quick_left) == (False, True, first.quick_left)
    assert third.answer is not None
    assert not third.answer.cached


def test_what_the_machine_spoils_is_neither_kept_nor_counted(lab: Lab) -> None:
    with desk_at(lab) as desk:
        desk.write(crash="")
        spoiled = desk.asked()
        assert (spoiled.state, spoiled.answer, spoiled.quick_left) == ("failed", None, 8)
        assert not list((lab.folder / "run" / "broker" / "verdicts").rglob("*.json"))
        again = desk.asked()
    assert again.state == "failed"
    assert len(list((lab.folder / "run" / "broker" / "questions").iterdir())) == 2


@pytest.mark.parametrize(("mark", "state"), [("idle", "failed"), ("busy", "done")])
def test_what_says_nothing_of_the_code_is_asked_again_for_nothing(mark: str, state: str, lab: Lab) -> None:
    with desk_at(lab, Allowance(quick=1, full=0)) as desk:
        desk.write(**{mark: "", "speed": "200"})
        first, second = desk.asked(), desk.asked()
        assert [ticket.state for ticket in (first, second)] == [state] * 2
        assert second.quick_left == 1
        assert desk.broker.asked(desk.link.address) == 0
        assert not list((lab.folder / "run" / "broker" / "verdicts").rglob("*.json"))
    if mark == "busy":
        assert second.answer is not None
        assert not second.answer.cached
        assert "not counted: the machine was too busy: all 4 pairs were dropped" in told(second)


def test_a_repository_inside_the_workspace_is_not_judged(lab: Lab) -> None:
    with desk_at(lab) as desk:
        (desk.workspace / "inner" / ".git").mkdir(parents=True)
        (desk.workspace / "inner" / "kernel.c").write_text("/* */")
        desk.asked()
        judged = next((lab.folder / "run" / "broker" / "questions").iterdir()) / "candidate"
        assert [path.name for path in (judged / "inner").iterdir()] == ["kernel.c"]


def test_a_verdict_of_other_cores_is_none(lab: Lab) -> None:
    seen = []
    for device in (Device(cores=(FIRST,)), Device(), Device(cores=(FIRST,))):
        broker = broker_of(lab, Devices([device], lab.folder / "locks"))
        workspace = lab.folder / "run" / "workspace"
        if not workspace.exists():
            workspace_of(lab)
        with broker.serving(), broker.visit(workspace, lab.target / "starter"):
            link = find_link(workspace)
            assert link is not None
            answer = Desk(workspace, link, broker).asked().answer
            assert answer is not None
            seen.append(answer.cached)
    assert seen == [False, False, True]


def test_what_was_laid_out_for_the_agent_is_not_judged(lab: Lab) -> None:
    with desk_at(lab) as desk:
        (desk.workspace / ".agents" / "skills").mkdir(parents=True)
        desk.write(**{"AGENTS.md": "words", "speed": "110"})
        desk.asked()
        judged = next((lab.folder / "run" / "broker" / "questions").iterdir()) / "candidate"
        assert sorted(path.name for path in judged.iterdir()) == ["candidate.toml", "server.py", "speed"]


def test_the_code_is_judged_as_it_was_when_it_was_asked_about(lab: Lab) -> None:
    _slow(lab, 1)
    with desk_at(lab) as desk:
        desk.write(speed="200")
        ticket = desk.link.start("quick")
        desk.write(speed="1", wrong="")
        done = desk.link.status(ticket.id, 30)
    assert done.answer is not None
    assert done.answer.comparison is not None
    assert done.answer.comparison.gain == 2


def test_questions_wait_for_each_other(lab: Lab) -> None:
    _slow(lab, 0.5)
    with desk_at(lab) as desk:
        tickets = []
        for number in range(3):
            desk.write(speed=str(200 + number))
            tickets.append(desk.link.start("quick"))
        most = 0
        while any(desk.link.status(t.id).state in ("queued", "running") for t in tickets):
            most = max(most, len({words for words in _gates_alive(lab) if "tether" not in words}))
            time.sleep(0.05)
        assert [desk.link.status(t.id).state for t in tickets] == ["done"] * 3
    assert most == 1


def test_a_wait_is_bounded(lab: Lab) -> None:
    _slow(lab, 5)
    with desk_at(lab) as desk:
        ticket = desk.link.start("quick")
        assert desk.link.status(ticket.id, 0.2).state in ("queued", "running")


def test_the_end_of_a_session_ends_its_gate_and_its_questions(lab: Lab) -> None:
    _slow(lab, 300)
    with desk_at(lab) as desk:
        desk.link.start("quick")
        desk.write(speed="7")
        desk.link.start("quick")
        until = time.monotonic() + 20
        while not _gates_alive(lab) and time.monotonic() < until:
            time.sleep(0.05)
        assert _gates_alive(lab)
    assert _gates_alive(lab) == []


def test_a_session_that_is_over_is_not_answered(lab: Lab) -> None:
    with broker_of(lab).serving() as broker:
        workspace = workspace_of(lab)
        with broker.visit(workspace) as address:
            Link(address).issues()
        assert find_link(workspace) is None
        with pytest.raises(UsageError, match="is over"):
            Link(address).start("quick")
        with pytest.raises(UsageError, match="is over"):
            Link(Address(socket=address.socket, token="guessed")).issues()
    with pytest.raises(InfrastructureError, match="does not answer"):
        Link(address).issues()


def test_sessions_see_their_own_questions_only(lab: Lab) -> None:
    with broker_of(lab).serving() as broker:
        first, second = workspace_of(lab, "first"), workspace_of(lab, "second")
        with broker.visit(first) as here, broker.visit(second) as there:
            ticket = Link(here).start("quick")
            with pytest.raises(UsageError, match="there is no gate"):
                Link(there).status(ticket.id)
            assert Link(here).status(ticket.id, 30).state == "done"


def test_nonsense_at_the_door_is_refused_and_the_broker_goes_on(lab: Lab) -> None:
    with desk_at(lab) as desk:
        with pytest.raises(UsageError, match="neither quick nor full"):
            desk.link.start("deep")
        with pytest.raises(UsageError, match="no issue is called"):
            desk.link.issue("nothing")
        assert desk.asked().state == "done"


def test_many_sessions_at_once_are_all_answered(lab: Lab) -> None:
    states: list[str] = []
    with broker_of(lab).serving() as broker:
        places = [workspace_of(lab, f"w{number}") for number in range(4)]

        def session(place: Path) -> None:
            (place / "speed").write_text(str(100 + int(place.name[1:])))
            with broker.visit(place) as address:
                states.append(Link(address).status(Link(address).start("quick").id, 40).state)

        threads = [threading.Thread(target=session, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states == ["done"] * 4


def test_a_broker_that_is_killed_leaves_no_gate_behind(lab: Lab) -> None:
    _slow(lab, 300)
    words = f"""
import sys, time
sys.path[:0] = {[path for path in sys.path if path]!r}
from pathlib import Path
from loop_lab import Lab
from broker_lab import desk_at
with desk_at(Lab(Path({str(lab.folder)!r}))) as desk:
    desk.link.start("quick")
    print("asked", flush=True)
    time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        until = time.monotonic() + 20
        while not _gates_alive(lab) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while _gates_alive(lab) and time.monotonic() < until:
        time.sleep(0.1)
    assert _gates_alive(lab) == []


def test_the_board_is_one_for_agents_and_people(lab: Lab) -> None:
    from vibeserve_loop.proposals import Item

    with desk_at(lab) as desk:
        desk.link.create(Item(id="batch", title="Batch requests", mechanism="one step serves many", weight=0.5))
        desk.link.create(Item(id="cache", title="Keep prefixes"))
        assert [item.id for item in desk.link.issues("requests")] == ["batch"]
        with pytest.raises(UsageError, match="already"):
            desk.link.create(Item(id="batch"))
        with pytest.raises(UsageError, match="say in `reason`"):
            desk.link.update("cache", "parked", "")
        moved = desk.link.update("cache", "parked", "prefixes never repeat in this workload")
        assert moved.state == "parked"
        assert [item.id for item in desk.link.issues(state="open")] == ["batch"]
        with pytest.raises(UsageError, match="finite number"):
            desk.link.create(Item.model_construct(id="endless", weight=math.inf))
        with pytest.raises(UsageError, match="not a question"):
            desk.link.create(Item(id="half", title="half a \ud83d"))
    lines = (lab.folder / "run" / "orders.jsonl").read_text().splitlines()
    assert [json.loads(line)["verb"] for line in lines] == ["issue"] * 3
