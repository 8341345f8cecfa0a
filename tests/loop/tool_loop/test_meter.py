from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loop_lab import Lab

from vibeserve_loop.records import AgentResult, Spend
from vibeserve_loop.tool_loop.limits import Account, Limits
from vibeserve_loop.tool_loop.meter import metered, with_lost
from vibeserve_loop.tool_loop.prices import Price, Tokens

PROGRAM = Path(__file__).parents[1] / "acp_agent.py"
PRICE = Price(1_000_000, 0, 0, 0)
PAYING = """
import time
from pathlib import Path
from vibeserve_loop.desk.endings import spent
from vibeserve_loop.records import AgentResult
from vibeserve_loop.tool_loop.limits import Account, Limits
from vibeserve_loop.tool_loop.prices import Price, Tokens

class PayingAgent:
    # Pays two dollars; in its first life it never comes to an end.
    def work(self, brief, desk):
        account = Account(Limits(), Price(1_000_000, 0, 0, 0))
        account.charge(Tokens(input=2))
        first = not Path("lived").exists()
        Path("lived").touch()
        while first:
            time.sleep(0.1)
        (desk.folder / "speed").write_text("300")
        return AgentResult(summary="paid", spend=spent(0.0, account.usd, account.input, 0))
"""


def test_what_killed_sessions_of_the_same_work_spent_is_added_up(tmp_path: Path) -> None:
    for life in range(3):
        with metered(tmp_path) as meter:
            assert meter.before == Spend(usd=2.0 * life, tokens_in=2 * life)
            account = Account(Limits(), PRICE)
            account.charge(Tokens(input=1))
            account.charge(Tokens(input=1))
    done = with_lost(AgentResult(summary="", spend=Spend(seconds=3, usd=1.0)), meter.before)
    assert done.spend == Spend(seconds=3, usd=5.0, tokens_in=4)
    assert with_lost(done, Spend()) is done


def test_without_a_meter_nothing_is_written(tmp_path: Path) -> None:
    Account(Limits(), PRICE).charge(Tokens(input=1))
    assert not list(tmp_path.iterdir())


def _own_calls(lab: Lab) -> str:
    (lab.folder / "paying.py").write_text(PAYING)
    return "paying:PayingAgent"


def _program(lab: Lab) -> str:
    pytest.importorskip("acp", reason="the extra `acp` is not installed")
    return f"acp command='{sys.executable} {PROGRAM} pays {lab.folder / 'lived'}'"


@pytest.mark.parametrize(("paying", "tokens"), [(_own_calls, 4), (_program, 0)], ids=["own calls", "program"])
def test_a_run_answers_for_a_session_that_was_killed_also_behind_an_order(
    paying: Callable[[Lab], str], tokens: int, lab: Lab
) -> None:
    agent = paying(lab)
    run = lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--agent", agent, "--max-rounds", "1")
    while not list(lab.folder.glob("runs/*/rounds/0001/spent.json")) or not (lab.folder / "lived").exists():
        assert run.poll() is None, run.communicate()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert lab.call("ctl", "steer", "go on").returncode == 0
    done = lab.call("resume")
    assert done.returncode == 0, done.stderr
    work = next(r for r in lab.rounds() if r["task"]["kind"] == "work")
    assert (work["round"], work["work"]["spend"]["usd"], work["work"]["spend"]["tokens_in"]) == (2, 4.0, tokens)
    assert "4.00 USD" in done.stdout
