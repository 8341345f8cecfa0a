"""An agent of somebody's own, in a whole run: what it does wrong costs its round, and nothing else."""

from __future__ import annotations

import json

import pytest
from loop_lab import Lab

KEY = "lab-key-never-to-be-seen"
AGENT = '''
import os, sys
from vibeserve_loop.records import AgentResult
from pytest_vibeserve.errors import UsageError

class WildAgent:
    """Does something else wrong in every round."""

    def work(self, brief, desk):
        speed = desk.folder / "speed"
        key = os.environ["LAB_API_KEY"]
        desk.log(f"begins with {key}")
        before = speed.read_text()
        speed.write_text("9000")
        if brief.number == 1:
            raise RuntimeError(f"refused: Authorization: Bearer {key}")
        if brief.number == 2:
            return {"summary": "made"}
        if brief.number == 4:
            sys.exit("enough")
        if brief.number == 5:
            (desk.folder / "notes").write_text(f"the key is {key}")
            return AgentResult(summary=f"noted {key}")
        if brief.number == 7:
            raise UsageError(f"the endpoint refuses {key}")
        speed.write_text(str(float(before) * 2))
        return AgentResult(summary=f"twice as fast, with {key}")
'''
ODD = """
from vibeserve_loop.records import AgentResult, Spend

class OddAgent:
    # Tells what no record can hold.
    def work(self, brief, desk):
        if brief.number == 1:
            return AgentResult(summary="endless", spend=Spend(usd=float("inf")))
        if brief.number == 2:
            spend = Spend.model_construct(usd=float("nan"), tokens_in=10**5000)
            return AgentResult.model_construct(summary="unchecked", spend=spend, failed="")
        if brief.number == 4:
            return AgentResult(summary="paid back", spend=Spend(usd=-5.0))
        if brief.number == 5:
            raise ValueError("caf\\udce9")
        desk.log("caf\\udce9")
        (desk.folder / "speed").write_text("300")
        return AgentResult(summary="caf\\udce9 and half a \\ud83d, a \\0 too", techniques=("\\ud83d",))
"""


def test_what_no_record_can_hold_costs_the_round_or_is_marked_and_the_run_stays_readable(lab: Lab) -> None:
    (lab.folder / "odd.py").write_text(ODD)
    (lab.target / "starter" / ".gitattributes").write_text("")
    done = lab.run("--agent", "odd:OddAgent", "--max-attempts-per-issue", "9", "--max-rounds", "4")
    assert done.returncode == 0, done.stderr
    rounds = lab.rounds()
    assert [r["decision"]["ruling"] for r in rounds] == ["accept", "void", "void", "accept", "void", "void", "accept"]
    for number in (1, 2, 4):
        assert rounds[number]["decision"]["reason"].startswith("died: ValidationError"), rounds[number]["decision"]
    assert rounds[5]["decision"]["reason"] == "died: ValueError: caf?"
    assert (rounds[3]["work"]["summary"], rounds[3]["work"]["techniques"]) == ("caf? and half a ?, a ? too", ["?"])
    assert (lab.latest / "rounds" / "0003" / "agent.log").read_text() == "caf?\n"
    assert all(r["work"] is None or r["work"]["spend"]["usd"] == 0 for r in rounds)
    assert lab.call("log").returncode == 0


def test_what_an_agent_raises_costs_its_round_and_no_key_is_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", KEY)
    (lab.folder / "wild.py").write_text(AGENT)
    done = lab.run("--agent", "wild:WildAgent", "--max-attempts-per-issue", "9")
    # A mistake of the user's ends a run, for it would come again.
    assert done.returncode == 4, done.stderr
    assert "the endpoint refuses ***" in done.stderr
    rounds = lab.rounds()
    reasons = {record["round"]: record["decision"]["reason"] for record in rounds[1:]}
    rulings = [record["decision"]["ruling"] for record in rounds]
    assert rulings == ["accept", "void", "void", "accept", "void", "void", "accept"]
    assert reasons[1] == "died: RuntimeError: refused: Authorization: Bearer ***"
    assert reasons[2] == "died: TypeError: the agent gave dict, not an AgentResult"
    assert reasons[4] == "died: SystemExit: enough"
    assert reasons[5] == "garbage: it wrote a key from the environment into notes"
    assert rounds[6]["work"]["summary"] == "twice as fast, with ***"
    logs = {n: (lab.latest / "rounds" / f"{n:04d}" / "agent.log").read_text() for n in (1, 3)}
    assert 'raise RuntimeError(f"refused' in logs[1]
    assert logs[3] == "begins with ***\n"
    kept = [path for path in lab.latest.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    assert json.loads((lab.latest / "run.json").read_text())["agent"] == "wild:WildAgent"
