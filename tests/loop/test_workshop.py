from __future__ import annotations

import json

from loop_lab import Lab

ASKER = '''
import json, os, pathlib, sys
from vibeserve_loop.broker.link import find_link
from vibeserve_loop.proposals import Item
from vibeserve_loop.records import AgentResult

class AskingAgent:
    """Edits, asks the gate about two edits, files an issue, and writes down what it was told."""

    def __init__(self, depth="quick"):
        self.depth = depth

    def work(self, brief, desk):
        link = find_link(desk.folder)
        told = []
        for factor in (2, 2, 3):
            (desk.folder / "speed").write_text(str(100 * factor + brief.number))
            ticket = link.start(self.depth)
            while ticket.state in ("queued", "running"):
                ticket = link.status(ticket.id, 20)
            told.append(json.loads(ticket.model_dump_json()))
        if brief.number == 1:
            link.create(Item(id="batch", title="Batch requests", mechanism="one step serves many", weight=0.5))
        told.append([item.id for item in link.issues()])
        desk.log(json.dumps(told))
        return AgentResult(summary="asked")
'''


def _asked(lab: Lab, *words: str) -> list:
    (lab.folder / "asker.py").write_text(ASKER)
    done = lab.run("--agent", "asker:AskingAgent", "--max-rounds", "1", *words)
    assert done.returncode == 0, done.stderr
    line = (lab.latest / "rounds" / "0001" / "agent.log").read_text().splitlines()[-1]
    return list(json.loads(line))


def test_an_agent_asks_the_gate_and_the_board_during_its_session(lab: Lab) -> None:
    first, again, other, issues = _asked(lab)
    assert [ticket["state"] for ticket in (first, again, other)] == ["done"] * 3
    assert first["answer"]["comparison"]["gain"] == 2.01
    assert [ticket["answer"]["cached"] for ticket in (first, again, other)] == [False, True, False]
    assert other["quick_left"] == 6
    assert "batch" in issues
    orders = [json.loads(line) for line in (lab.latest / "orders.jsonl").read_text().splitlines()]
    assert [order["item"]["id"] for order in orders] == ["batch"]


def test_what_sessions_asked_is_counted_and_what_a_session_may_ask_is_said_at_the_start(lab: Lab) -> None:
    first, again, other, _ = _asked(lab, "--quick-gates", "1")
    assert [ticket["state"] for ticket in (first, again, other)] == ["done", "done", "refused"]
    assert lab.rounds()[1]["work"]["gates"] == 1
    assert lab.rounds()[1]["decision"]["ruling"] == "accept"


def test_nothing_of_a_session_is_left_and_nothing_secret_was_told(lab: Lab) -> None:
    told = json.dumps(_asked(lab))
    assert not list(lab.latest.glob(".broker-*"))
    assert str(lab.folder) not in told
    assert "reveal" not in told
    left = sorted(path.name for path in (lab.latest / "workspace").iterdir())
    assert left == [".git", "candidate.toml", "server.py", "speed"]


def test_a_planner_sees_the_board_and_may_not_run_the_gate(lab: Lab) -> None:
    (lab.folder / "planner.py").write_text(
        """
import json
from vibeserve_loop.broker.link import find_link
from vibeserve_loop.proposals import Item
from vibeserve_loop.records import AgentResult

class StoppingAgent:
    def work(self, brief, desk):
        link = find_link(desk.folder)
        ticket = link.start("quick")
        link.create(Item(id="batch", title="Batch requests", weight=0.5))
        desk.log(json.dumps([ticket.state, [item.id for item in link.issues()]]))
        (desk.folder / "plan.json").write_text(json.dumps({"stop": "nothing is worth a round on this code any more"}))
        return AgentResult(summary="planned")
"""
    )
    done = lab.run("--policy", "agent", "--planner", "planner:StoppingAgent", "--max-rounds", "1")
    assert done.returncode == 0, done.stderr
    state, issues = json.loads((lab.latest / "rounds" / "0001" / "agent.log").read_text().splitlines()[-1])
    assert (state, issues) == ("refused", ["batch"])
