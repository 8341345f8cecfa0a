from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loop_lab import Lab

from vibeserve_loop.options import KNOBS, MASK, masked
from vibeserve_loop.records import Knobs


def _shown(lab: Lab, monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, tuple[object, str]]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = lab.call("config", "show", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["name"]: (line["value"], line["origin"]) for line in lines}


def test_each_source_yields_to_the_one_above_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / "vibeserve.toml").write_text("[run]\nmax-rounds = 1\nmax_hours = 2\npolicy = 'agent'\n")
    (lab.folder / ".env").write_text("# mine\nVIBESERVE_RUN_MAX_HOURS='3'\nexport VIBESERVE_RUN_POLICY=evolve\n")
    found = _shown(lab, monkeypatch, VIBESERVE_RUN_POLICY="plain")
    assert found["run.max-rounds"] == (1, "vibeserve.toml")
    assert found["run.max-hours"] == ("3", ".env")
    assert found["run.policy"] == ("plain", "environment")
    assert found["run.sandbox"] == ("auto", "default")


def test_what_is_configured_holds_and_a_flag_holds_more(lab: Lab) -> None:
    (lab.folder / "vibeserve.toml").write_text("[run]\nmax-rounds = 0\nseed = 5\nagent = 'recipes'\n")
    assert lab.call("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "9").returncode == 0
    written = json.loads((lab.latest / "run.json").read_text())
    assert (written["max_rounds"], written["seed"], written["agent"]) == (0, 9, "recipes")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("vibeserve.toml", "[run]\nmax-round = 1\n", "[run] has no 'max-round'; did you mean max-rounds"),
        ("vibeserve.toml", "[ran]\nseed = 1\n", "no command is called 'ran'; did you mean run"),
        ("vibeserve.toml", "seed = 1\n", "no command is called 'seed'"),
        ("vibeserve.toml", "[run\n", "vibeserve.toml: not valid TOML"),
        (
            ".env",
            "VIBESERVE_RUN_POLICI=agent\n",
            "VIBESERVE_RUN_POLICI sets nothing; did you mean VIBESERVE_RUN_POLICY",
        ),
        (".env", "VIBESERVE_RNU_MAX_HOURS=1\n", "VIBESERVE_RNU_MAX_HOURS sets nothing; did you mean"),
        (".env", "VIBESERVE_MAX_HOURS=1\n", "did you mean VIBESERVE_RUN_MAX_HOURS"),
        (".env", "VIBESERVE_POLICY=agent\n", "VIBESERVE_POLICY sets nothing; did you mean VIBESERVE_RUN_POLICY"),
        (".env", "VIBESERVE_SEED=1\n", "did you mean VIBESERVE_RUN_SEED"),
        (".env", "VIBESERVE_RN_POLICY=agent\n", "did you mean VIBESERVE_RUN_POLICY"),
        (".env", "VIBESERVE_CASH=/tmp\n", "did you mean VIBESERVE_CACHE"),
        (".env", "VIBESERVE_MCP_HTP=1\n", "VIBESERVE_MCP_HTP sets nothing; did you mean VIBESERVE_MCP_HTTP"),
        (".env", "just words\n", ".env:1: write NAME=VALUE"),
    ],
)
def test_what_nothing_is_called_is_an_error_with_the_nearest_name(lab: Lab, file: str, text: str, said: str) -> None:
    (lab.folder / file).write_text(text)
    done = lab.call("list")
    assert done.returncode == 4
    assert said in done.stderr


def test_secrets_are_masked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / ".env").write_text("ANTHROPIC_API_KEY=sk-very-secret\n")
    (lab.folder / "vibeserve.toml").write_text("[run]\nagent-option = ['api_key=sk-also', 'model=large']\n")
    done = lab.call("config", "show")
    assert "sk-" not in done.stdout
    assert "ANTHROPIC_API_KEY = ********  (.env)" in done.stdout
    assert "; model=large  (vibeserve.toml)" in done.stdout
    assert masked("max-tokens", "5") == "5"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("agent --api-key sk-1 --model large", f"agent --api-key {MASK} --model large"),
        ("agent --token abc", f"agent --token {MASK}"),
        ("--max-tokens 5 key=k", f"--max-tokens 5 key={MASK}"),
        ("https://me:pass@example.invalid/v1 x", f"https://{MASK}@example.invalid/v1 x"),
        ("base_url=http://me:pass@127.0.0.1:1/v1", f"base_url=http://{MASK}@127.0.0.1:1/v1"),
        ("curl -H 'Authorization: Bearer sk-1' http://h.invalid", f"curl -H 'Authorization: {MASK}' http://h.invalid"),
        ('curl -H "X-Api-Key: sk-1" -d 1', f'curl -H "X-Api-Key: {MASK}" -d 1'),
        ("ray address=monkey.invalid:6379", "ray address=monkey.invalid:6379"),
        ("send bearer sk-1 there", f"send bearer {MASK} there"),
        ("deepagents model=openai:large max_tokens=5", "deepagents model=openai:large max_tokens=5"),
        ("a@b.invalid --secret --flag", "a@b.invalid --secret --flag"),
    ],
)
def test_secrets_inside_of_commands_and_addresses_are_masked(value: str, seen: str) -> None:
    assert masked("agent", value) == seen


def test_secrets_among_the_words_of_a_command_are_masked() -> None:
    words = ["curl", "--api-key", "sk-1", "--token", "--flag", "-H", "Authorization: Bearer sk-2"]
    hidden = ["curl", "--api-key", MASK, "--token", "--flag", "-H", f"Authorization: {MASK}"]
    assert masked("reviewer", words) == hidden


def test_what_other_programs_of_the_project_read_is_no_mistake(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / ".env").write_text("VIBESERVE_CACHE=/tmp/weights\nVIBESERVE_DATA_PROMPTS=/tmp/prompts\nMINE=1\n")
    others = {"VIBESERVE_PROFILE": "/tmp/profile", "VIBESERVE_REFERENCE_DEVICE": "cuda:1"}
    found = _shown(lab, monkeypatch, MINE="2", **others)
    assert found["VIBESERVE_CACHE"] == (MASK, ".env")
    assert found["VIBESERVE_DATA_PROMPTS"] == (MASK, ".env")
    assert found["MINE"] == (MASK, "environment")


def test_commands_of_modules_of_their_own_are_configured_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.folder / "vibeserve.toml").write_text("[report]\noutput = 'page.html'\n[submit]\nruns = 'elsewhere'\n")
    found = _shown(lab, monkeypatch, VIBESERVE_MCP_RUNS="there")
    assert found["report.output"] == ("page.html", "vibeserve.toml")
    assert found["mcp.runs"] == ("there", "environment")
    assert lab.run("--max-rounds", "0").returncode == 0
    assert lab.call("report").returncode == 0
    assert (lab.folder / "page.html").is_file()
    done = lab.call("submit", "--summary", "done")
    assert done.returncode == 4
    assert "there is no run in elsewhere" in done.stderr


def test_every_knob_has_an_option() -> None:
    named = {name.removeprefix("--").replace("-", "_") for name, _, _ in KNOBS} | {"objectives"}
    assert named == set(Knobs.model_fields)
    defaults = {
        name.removeprefix("--").replace("-", "_"): words.rpartition("[")[2].rstrip("]") for name, _, words in KNOBS
    }
    assert {name: float(word) for name, word in defaults.items()} == {
        name: float(getattr(Knobs(), name)) for name in defaults
    }  # fmt: skip


def test_help_costs_little_more_than_click(tmp_path: Path) -> None:
    code = "import sys, vibeserve_loop.cli; print(*sorted(m for m in sys.modules if m.startswith('vibeserve_loop.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    commands = ["vibeserve_loop.commands", "vibeserve_loop.commands.ctl_options"]
    assert done.stdout.split() == ["vibeserve_loop.cli", *commands, "vibeserve_loop.options"]
