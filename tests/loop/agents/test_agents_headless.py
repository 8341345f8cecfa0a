"""The real programs in their own modes without a person, for what the Agent Client Protocol lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_cases import EDITS, GATED, Case, Outcome, played
from clis import path_with

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.cli_agents.choices import choice_of
from vibeserve_loop.cli_agents.event_lines import READERS, WORDS, Ask, Heard

KEY = "sk-never-to-be-seen"
KEYS = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY}
MODELS = {"codex": "gpt-5.5", "claude": "claude-opus-5", "gemini": "gemini-2.5-pro", "opencode": "lab-model"}
PROGRAMS = {"codex": "codex", "claude": "claude-headless", "gemini": "gemini", "opencode": "opencode"}


def _played(name: str, script: list[dict], folder: Path, *, attempts: int = 1, **options: str) -> Outcome:
    sandbox, brokered = options.pop("sandbox", "none"), bool(options.pop("brokered", ""))
    found = {"base_url": "{url}", "model": MODELS[name], "mode": "headless", **options}
    environment = {**KEYS, "PATH": path_with(PROGRAMS[name])}
    return played(Case(name, script, found, environment, sandbox, brokered, attempts), folder, 200)


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", ["none", "bubblewrap"])
@pytest.mark.parametrize("name", MODELS)
def test_a_program_without_a_person_edits_the_code(name: str, sandbox: str, tmp_path: Path) -> None:
    done = _played(name, EDITS, tmp_path, sandbox=sandbox)
    assert done.result.get("ending") == "finished", done.result
    assert done.result["speed"] == "250\n"
    assert "I made it faster." in done.result["summary"]
    assert done.result["spend"]["tokens_in"] >= 1000
    assert done.result["session"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_its_session_is_taken_up_again(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"shell": "echo once >> made"}, {"say": "It is made."}], tmp_path, attempts=2)
    assert done.result.get("ending") == "finished", done.result
    # The endpoint answers by what a request holds: the second session's held the first one's call, so it made none.
    assert (tmp_path / "run" / "workspace" / "made").read_text() == "once\n"
    assert "It is made." in done.result["summary"]


@pytest.mark.slow
def test_a_cap_in_dollars_is_kept_by_the_program_itself(tmp_path: Path) -> None:
    script = [{"shell": f"echo {number} > speed"} for number in range(20)]
    done = _played("claude", script, tmp_path, max_usd="0.001")
    assert done.result["ending"] == "budget", done.result
    assert len(done.requests) < 12
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])
def test_it_asks_the_gate_where_it_can_be_told_of_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
    model = {"model": "lab-model"} if name == "codex" else {}
    done = _played(name, GATED, tmp_path, brokered="yes", **model)
    assert done.result.get("ending") == "finished", done.result
    assert "against the base: x2.500" in done.requests[-1]["results"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_stays_limited_costs_the_round(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"fault": "429"}], tmp_path, max_minutes="0.5")
    assert done.result["ending"] in ("rate-limited", "hung", "died"), done.result
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


def test_only_known_programs_have_such_a_mode() -> None:
    with pytest.raises(UsageError, match="headless for claude"):
        choice_of("acp", {"command": "mine", "mode": "headless"})
    with pytest.raises(UsageError, match="mode=loud"):
        choice_of("codex", {"mode": "loud"})


def test_a_cap_and_a_session_are_told_in_words(tmp_path: Path) -> None:
    words = WORDS["claude"](Ask(tmp_path, "opus", 0.25, "session-1"))
    assert words[words.index("--max-budget-usd") + 1] == "0.25"
    assert words[words.index("--resume") + 1] == "session-1"
    server = {"command": "python", "args": ["-m", "x"], "env": {"A": "b"}}
    told = WORDS["codex"](Ask(tmp_path, servers={"vibeserve": server}))
    assert 'mcp_servers.vibeserve={command = "python", args = ["-m", "x"], env = {A = "b"}}' in told


def test_a_turn_that_failed_is_never_an_answer() -> None:
    found = Heard()
    READERS["codex"]({"type": "turn.failed", "error": {"message": "429 too many"}}, found)
    assert (found.whole, found.failed) == (False, "429 too many")
    found = Heard()
    READERS["claude"]({"type": "result", "subtype": "success", "is_error": True, "result": "API Error"}, found)
    assert found.failed == "API Error"
