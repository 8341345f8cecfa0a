from __future__ import annotations

import pytest
from loop_lab import Lab

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.commands.money import check_money
from vibeserve_loop.records import Settings

UNPRICED = """
from vibeserve_loop.records import AgentResult

class UnpricedAgent:
    def unpriced(self):
        return "no price is known for it: add price=INPUT:OUTPUT"

    def work(self, brief, desk):
        desk.log(f"left {brief.left.tokens}")
        return AgentResult(summary="looked and changed nothing")
"""


@pytest.fixture
def unpriced(lab: Lab) -> Lab:
    (lab.folder / "unpriced.py").write_text(UNPRICED)
    return lab


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [
        ("anthropic", {"model": "claude-opus-5"}, True),
        ("openai", {"model": "my-own", "base_url": "http://127.0.0.1:1"}, False),
        ("openai", {"model": "my-own", "base_url": "http://127.0.0.1:1", "price": "0:0"}, True),
        ("deepagents", {"model": "openai:my-own"}, False),
        ("codex", {}, False),
        ("codex", {"price": "1.25:10"}, True),
        ("claude", {}, True),
        ("opencode", {}, True),
        ("opencode", {"base_url": "http://127.0.0.1:1", "model": "my-own"}, False),
        ("recipes", {}, True),
    ],
)
def test_what_agents_cost_is_known_or_not(name: str, options: dict[str, str], known: bool) -> None:
    settings = Settings(id="run", created=0, target="lab", agent=name, agent_options=tuple(options.items()))
    if known:
        check_money(settings)
    else:
        with pytest.raises(UsageError, match="add price=INPUT:OUTPUT"):
            check_money(settings)


def test_a_limit_in_dollars_that_nobody_can_keep_is_refused_before_anything_begins(unpriced: Lab) -> None:
    for words in (("--agent", "unpriced:UnpricedAgent"), ("--policy", "agent", "--planner", "unpriced:UnpricedAgent")):
        done = unpriced.run(*words, "--max-usd", "3")
        assert done.returncode == 4
        assert "--max-usd cannot be kept with agent unpriced:UnpricedAgent: no price is known" in done.stderr
    assert not (unpriced.folder / "runs").exists()


def test_it_is_refused_while_a_run_goes_on_and_at_its_resuming_too(unpriced: Lab) -> None:
    assert unpriced.run("--agent", "unpriced:UnpricedAgent", "--max-rounds", "1").returncode == 0
    for words in (("ctl", "budget", "--max-usd", "3"), ("resume", "--max-usd", "3")):
        done = unpriced.call(*words)
        assert done.returncode == 4
        assert "--max-usd cannot be kept" in done.stderr
    assert not (unpriced.latest / "orders.jsonl").exists()
    assert unpriced.call("ctl", "budget", "--max-usd", "none").returncode == 0


def test_an_agent_that_changes_nothing_is_not_paid_for_again_and_again(unpriced: Lab) -> None:
    done = unpriced.run(
        "--agent", "unpriced:UnpricedAgent", "--policy", "evolve", "--max-rounds", "1", "--max-tokens", "500"
    )
    assert done.returncode == 0, done.stderr
    assert [r["task"]["kind"] for r in unpriced.rounds()] == ["starter", "work", "work", "work"]
    assert (unpriced.latest / "rounds" / "0001" / "agent.log").read_text() == "left 500\n"
