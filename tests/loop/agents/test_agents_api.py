from __future__ import annotations

from pathlib import Path

import pytest
from agent_cases import EDITS, Case, Outcome, played

pytest.importorskip("pydantic_ai", reason="the extra `agents` is not installed")
pytestmark = pytest.mark.slow

KEY = "sk-never-to-be-seen"
WAYS = {
    "messages": ("anthropic", {"base_url": "{url}", "model": "claude-opus-5"}),
    "responses": ("openai", {"base_url": "{url}/v1", "model": "gpt-5.5", "interface": "responses"}),
    "chat": ("openai", {"base_url": "{url}/v1", "model": "lab-model"}),
}


def _case(way: str, script: list[dict], **options: str) -> Case:
    agent, usual = WAYS[way]
    keys = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
    return Case(agent, script, {**usual, **options}, keys)


def _is_undone(outcome: Outcome) -> bool:
    return outcome.result["speed"] == "100" and outcome.result["changes"] == ""


@pytest.mark.parametrize("way", WAYS)
def test_a_model_edits_through_its_tools(way: str, tmp_path: Path) -> None:
    done = played(_case(way, EDITS), tmp_path)
    assert done.result["ending"] == "finished", done.result
    assert done.result["summary"] == "I made it faster."
    assert done.result["speed"] == "250\n"
    assert done.result["calls"] == 2
    assert (done.result["spend"]["tokens_in"], done.result["spend"]["tokens_out"]) == (2000, 100)
    assert {"read", "edit", "write", "list", "search", "run"} <= set(done.requests[0]["tools"])
    assert done.result["changes"].split() == ["M", "speed"]


def test_the_account_is_priced_from_the_table(tmp_path: Path) -> None:
    done = played(_case("messages", EDITS), tmp_path)
    assert done.result["spend"]["usd"] == pytest.approx(2000 * 5e-6 + 100 * 25e-6)


def test_no_key_gets_into_a_log_or_a_workspace(tmp_path: Path) -> None:
    script = [{"shell": "env > found; cat /proc/self/environ >> found"}, {"say": "looked"}]
    done = played(_case("messages", script), tmp_path)
    seen = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "case.json"]
    assert (tmp_path / "run" / "workspace" / "found").is_file()
    assert not [data for data in seen if KEY.encode() in data]
    assert KEY not in str(done.result)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_the_endpoint_tells_back_is_masked(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "echo"}]), tmp_path)
    assert "not understood" in done.result["failed"]
    assert "***" in done.result["failed"]
    assert KEY not in str(done.result)


def test_a_tool_that_is_asked_wrongly_says_so_and_the_session_goes_on(tmp_path: Path) -> None:
    script = [
        {"call": "read", "with": {"path": "../../case.json"}},
        {"call": "edit", "with": {"path": "speed", "old": "7", "new": "8"}},
        {"call": "read", "with": {"path": ".git/config"}},
        {"call": "read", "with": {"path": "spe\x00ed"}},
        {"call": "run", "with": {"command": "echo \x00"}},
        {"call": "edit", "with": {"path": "speed", "old": "100", "new": "300"}},
        {"say": "done"},
    ]
    done = played(_case("messages", script), tmp_path)
    told = done.requests[-1]["results"]
    assert "outside the workspace" in told[0]
    assert "occurs 0 times" in told[1]
    assert "belongs to git" in told[2]
    assert all("null byte" in answer for answer in told[3:5]), told
    assert done.result["speed"] == "300"


@pytest.mark.parametrize("way", WAYS)
def test_a_rate_limit_that_passes_is_waited_for(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "429", "times": 2}, *EDITS]), tmp_path)
    assert done.result["ending"] == "finished"
    assert done.result["speed"] == "250\n"


@pytest.mark.parametrize("way", WAYS)
def test_a_rate_limit_that_stays_costs_the_round(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "429"}]), tmp_path)
    assert done.result["ending"] == "rate-limited"
    assert _is_undone(done)


def test_an_endpoint_that_dies_costs_the_round(tmp_path: Path) -> None:
    done = played(_case("chat", [{"fault": "500"}]), tmp_path)
    assert done.result["ending"] == "died"
    assert _is_undone(done)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_hangs_costs_the_round(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "hang"}], max_minutes="0.05"), tmp_path)
    assert done.result["ending"] == "hung"
    assert _is_undone(done)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_floods_costs_the_round(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "flood"}]), tmp_path)
    assert done.result["ending"] == "flooded", done.result
    assert _is_undone(done)


def test_a_model_that_does_the_same_again_and_again_costs_the_round(tmp_path: Path) -> None:
    done = played(_case("responses", [{"shell": "echo 999 > speed"}]), tmp_path)
    assert done.result["ending"] == "looped"
    assert len(done.requests) == 6
    assert _is_undone(done)


@pytest.mark.parametrize("way", WAYS)
def test_garbage_costs_the_round_and_is_never_an_answer(way: str, tmp_path: Path) -> None:
    done = played(_case(way, [{"fault": "garbage"}]), tmp_path)
    assert done.result["ending"] in ("garbage", "died"), done.result
    assert _is_undone(done)


def test_a_session_that_runs_out_of_money_stops_before_the_next_request(tmp_path: Path) -> None:
    script = [{"shell": f"echo {number} > speed"} for number in range(9)]
    done = played(_case("messages", script, max_usd="0.02"), tmp_path)
    assert done.result["ending"] == "budget"
    assert done.result["spend"]["usd"] <= 0.02
    assert 2 <= len(done.requests) <= 3
    assert _is_undone(done)


def test_a_session_that_runs_out_of_tokens_stops(tmp_path: Path) -> None:
    script = [{"shell": f"echo {number} > speed"} for number in range(9)]
    done = played(_case("chat", script, max_tokens="3000"), tmp_path)
    assert done.result["ending"] == "budget"
    assert done.result["spend"]["tokens_in"] + done.result["spend"]["tokens_out"] <= 3200


def test_a_cap_in_dollars_needs_a_price(tmp_path: Path) -> None:
    done = played(_case("chat", EDITS, max_usd="1"), tmp_path)
    assert done.result["error"] == "UsageError"
    assert "price=INPUT:OUTPUT" in done.result["message"]
    assert done.requests == []


def test_a_refused_key_is_the_users_to_mend(tmp_path: Path) -> None:
    done = played(_case("messages", [{"fault": "401"}]), tmp_path)
    assert done.result["error"] == "UsageError"
    assert "check the key in the environment" in done.result["message"]


def test_skills_and_standing_words_are_there_for_the_agent_and_gone_afterwards(tmp_path: Path) -> None:
    skill = tmp_path / "skills" / "batching"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: batching\ndescription: For tests.\n---\nBatch.\n")
    script = [{"call": "read", "with": {"path": ".agents/skills/batching/SKILL.md"}}, {"shell": "ls -a"}, {"say": "k"}]
    done = played(_case("messages", script), tmp_path)
    assert "Batch." in done.requests[-1]["results"][0]
    assert ".claude" in done.requests[-1]["results"][1]
    assert sorted(path.name for path in (tmp_path / "run" / "workspace").iterdir()) == [
        ".git", "candidate.toml", "server.py", "speed",
    ]  # fmt: skip


def test_an_old_answer_gives_way_when_the_context_is_full(tmp_path: Path) -> None:
    script = [{"shell": f"seq {start} {start + 3000}"} for start in range(1000, 9000, 1000)] + [{"say": "read it"}]
    done = played(_case("chat", script, context="9000"), tmp_path)
    assert done.result["ending"] == "finished"
    assert "characters were dropped" in done.requests[-1]["results"][0]
    assert "characters were dropped" not in done.requests[-1]["results"][-1]
    assert "make it faster" in done.requests[-1]["words"]


def test_a_model_asks_the_gate_through_its_own_tool(tmp_path: Path) -> None:
    script = [{"shell": "echo 250 > speed"}, {"call": "gate", "with": {"depth": "quick"}}, {"say": "accepted"}]
    case = _case("messages", script)
    done = played(Case(case.agent, script, case.options, case.environment, brokered=True), tmp_path)
    assert done.result["ending"] == "finished"
    assert "against the base: x2.500" in done.requests[-1]["results"][-1]
    assert "(left: 7 quick, 1 full)" in done.requests[-1]["results"][-1]
