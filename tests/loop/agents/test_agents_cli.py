from __future__ import annotations

from pathlib import Path

import pytest
from agent_cases import EDITS, GATED, Case, Outcome, played
from clis import path_with

pytest.importorskip("acp", reason="the extra `acp` is not installed")
pytestmark = pytest.mark.slow

KEY = "sk-never-to-be-seen"
OPEN = ("claude", "opencode")
KEYS = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "GEMINI_API_KEY": KEY}
MODELS = {"codex": "gpt-5.5", "claude": "claude-opus-5", "gemini": "gemini-2.5-pro", "opencode": "lab-model"}


def _played(name: str, script: list[dict], folder: Path, **options: str) -> Outcome:
    found = {"base_url": "{url}", "model": MODELS[name], **options}
    return played(Case(name, script, found, {**KEYS, "PATH": path_with(name)}), folder, 200)


@pytest.mark.parametrize("name", MODELS)
def test_a_real_program_edits_the_code(name: str, tmp_path: Path) -> None:
    done = _played(name, EDITS, tmp_path)
    assert done.result.get("ending") == "finished", done.result
    assert done.result["speed"] == "250\n"
    assert "I made it faster." in done.result["summary"]
    assert done.result["spend"]["tokens_in"] >= 1000


def _skilled(folder: Path) -> None:
    skill = folder / "skills" / "batching"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: batching\ndescription: Serves many by one step.\n---\nBatch.\n")


@pytest.mark.parametrize("name", MODELS)
def test_skills_and_standing_words_reach_a_real_program_by_themselves(name: str, tmp_path: Path) -> None:
    _skilled(tmp_path)
    done = _played(name, EDITS, tmp_path)
    words = "".join(request["words"] for request in done.requests)
    tools = "".join(tool for request in done.requests for tool in request["tools"])
    assert "Serves many by one step." in words + tools
    assert "Never trade answers for speed" in words
    assert "make it faster" in words
    left = sorted(path.name for path in (tmp_path / "run" / "workspace").iterdir())
    assert left == [".git", "candidate.toml", "server.py", "speed"]


# The endpoint's name leads to this machine outside, which the loop does not know: to it that is another machine.
@pytest.mark.parametrize("url", ["{url}", "http://model.test:{port}"])
@pytest.mark.parametrize("name", MODELS)
def test_a_real_program_works_behind_bubblewraps_walls(name: str, url: str, tmp_path: Path) -> None:
    script = [{"shell": f"echo 250 > speed; ls {tmp_path} > seen; echo x > .git/config; true"}, {"say": "done"}]
    options = {"base_url": url, "model": MODELS[name]}
    case = Case(name, script, options, {**KEYS, "PATH": path_with(name)}, "bubblewrap")
    done = played(case, tmp_path, 200)
    assert done.result.get("ending") == "finished", done.result
    assert done.result["speed"] == "250\n"
    assert (tmp_path / "run" / "workspace" / "seen").read_text().split() == ["run"]
    assert any("its network is the model's endpoint alone" in line for line in done.result["log"])
    assert "repositoryformatversion" in (tmp_path / "run" / "workspace" / ".git" / "config").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_a_program_whose_model_hangs_is_killed_with_all_its_children(name: str, tmp_path: Path) -> None:
    # Codex goes on while a long command runs, hence several.
    script = [{"shell": f"echo {number} > speed; sleep 7654 & sleep 7654"} for number in range(9)]
    done = _played(name, script, tmp_path, max_minutes="0.25")
    assert done.result["ending"] == "hung", done.result
    assert (done.result["speed"], done.result["changes"]) == ("100", "")
    assert "7654" not in _processes()


@pytest.mark.parametrize("name", MODELS)
def test_a_program_whose_model_stays_limited_costs_the_round(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"fault": "429"}], tmp_path, max_minutes="0.5")
    assert done.result["ending"] in ("rate-limited", "hung"), done.result
    assert (done.result["speed"], done.result["changes"]) == ("100", "")
    assert done.result["failed"]


@pytest.mark.parametrize("name", MODELS)
def test_garbage_from_the_model_is_never_an_answer(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"fault": "garbage"}], tmp_path, max_minutes="0.4")
    assert done.result["failed"], done.result
    assert done.result["ending"] != "finished"
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


@pytest.mark.parametrize("name", MODELS)
def test_another_attempt_takes_the_session_up_again(name: str, tmp_path: Path) -> None:
    script = [{"shell": "echo once >> made"}, {"say": "It is made."}]
    options = {"base_url": "{url}", "model": MODELS[name]}
    case = Case(name, script, options, {**KEYS, "PATH": path_with(name)}, attempts=2)
    done = played(case, tmp_path, 200)
    assert done.result.get("ending") == "finished", done.result
    # Gemini's program takes a session up without the protocol alone, which the loop sees to.
    told = "without the protocol" if name == "gemini" else "is taken up again"
    assert any(told in line for line in done.result["log"]), done.result["log"]
    # The endpoint answers by what a request holds: the second session's held the first one's call, so it made none.
    assert (tmp_path / "run" / "workspace" / "made").read_text() == "once\n"
    assert "It is made." in done.result["summary"]


def _processes() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return "\n".join(line for line in found if line.startswith("sleep"))


@pytest.mark.parametrize("name", ["codex", "claude"])
def test_a_program_that_runs_out_of_budget_is_stopped_under_way(name: str, tmp_path: Path) -> None:
    script = [{"shell": f"echo {number} > speed"} for number in range(20)]
    done = _played(name, script, tmp_path, max_tokens="4000", max_minutes="1")
    assert done.result["ending"] == "budget", done.result
    assert len(done.requests) < 12
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


@pytest.mark.parametrize("name", MODELS)
def test_a_program_that_goes_round_in_circles_is_stopped(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"shell": "echo 9 > speed"}], tmp_path, max_minutes="1")
    assert done.result["ending"] in ("looped", "died"), done.result
    assert len(done.requests) < 12
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


@pytest.mark.parametrize("name", MODELS)
def test_a_program_whose_model_floods_costs_the_round(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"fault": "flood"}], tmp_path, max_minutes="1")
    # Gemini's own guard against repetition may end the turn before ours does.
    assert done.result["ending"] in ("flooded", "died"), done.result
    assert (done.result["speed"], done.result["changes"]) == ("100", "")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sandbox", ["none", "bubblewrap"])
def test_a_real_program_asks_the_gate_over_mcp(name: str, sandbox: str, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
    # For models that it knows Codex hides the tools of MCP behind a search.
    options = {"base_url": "{url}", "model": "lab-model" if name == "codex" else MODELS[name]}
    done = played(Case(name, GATED, options, {**KEYS, "PATH": path_with(name)}, sandbox, True), tmp_path, 200)
    assert done.result.get("ending") == "finished", done.result
    verdict = done.requests[-1]["results"][-1]
    assert "against the base: x2.500" in verdict
    assert "left: 7 quick, 1 full" in verdict
    assert "The gate accepted it." in done.result["summary"]


@pytest.mark.parametrize(
    ("command", "endings"),
    [
        ("false", {"died"}),
        ("sh -c 'echo the machine is on fire >&2; exit 7'", {"died"}),
        ("yes", {"garbage", "hung"}),
        ("cat", {"garbage", "died", "hung"}),
        ("sh -c 'trap : TERM INT; sleep 7654 & wait; sleep 7654'", {"hung"}),
    ],
)
def test_a_program_that_does_not_speak_costs_the_round(command: str, endings: set[str], tmp_path: Path) -> None:
    done = played(Case("acp", EDITS, {"command": command, "max_minutes": "0.1"}), tmp_path, 60)
    assert done.result["ending"] in endings, done.result
    assert done.result["failed"]
    assert (done.result["speed"], done.result["changes"]) == ("100", "")
    assert "7654" not in _processes()


def test_what_a_program_said_last_is_in_the_reason(tmp_path: Path) -> None:
    command = "sh -c 'echo the machine is on fire >&2; exit 7'"
    done = played(Case("acp", EDITS, {"command": command}), tmp_path, 60)
    assert "it ended with 7: the machine is on fire" in done.result["failed"]


def test_a_program_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    done = played(Case("acp", EDITS, {"command": "no-such-program"}), tmp_path, 60)
    assert done.result["error"] == "UsageError"
    assert done.result["message"] == "no-such-program is not installed: install it"


@pytest.mark.parametrize("name", MODELS)
def test_no_key_gets_into_a_log_or_a_workspace(name: str, tmp_path: Path) -> None:
    done = _played(name, [{"shell": "env > seen; echo 250 > speed"}, {"say": "looked"}], tmp_path)
    # Claude and opencode give their commands every key: a session that writes one down is refused as a whole.
    seen = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "case.json"]
    seen = [path for path in seen if name not in OPEN or "homes" not in path.parts]
    assert not [path for path in seen if KEY.encode() in path.read_bytes()]
    assert ("wrote a key" in done.result["failed"]) == (name in OPEN), done.result
    assert KEY not in str(done.result)
