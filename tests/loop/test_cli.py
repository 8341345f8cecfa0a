from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from loop_lab import Lab, faster

HEAVY = ("pydantic", "git", "rich", "pytest", "numpy", "torch")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "labb"), "did you mean lab"),
        (("run", "lab", "--agent", "recipe"), "did you mean recipes or"),
        (("run", "lab", "--policy", "plane"), "did you mean plain or"),
        (("run", "lab", "--sandbox", "bubblewarp"), "did you mean bubblewrap?"),
        (("run", "lab", "--profile", "tinny"), "no profile 'tinny'"),
        (("run", "lab", "--agent", "recorded"), "give a folder of patches as `patches=DIR`, or a run's folder"),
        (("run", "lab", "--agent", "recorded", "--agent-option", "patches=nowhere"), "holds no *.patch file"),
        (("run", "lab", "--agent", "json:JSONDecoder"), "is no agent: a class with work() is wanted"),
        (("run", "lab", "--agent", "no_such:Thing"), "No module named 'no_such'"),
        (("run", "lab", "--baseline", "vllm"), "no baseline of lab is called so"),
        (("run", "lab", "--max-rounds", "few"), "'few' is not a valid integer"),
        (("run", "lab", "--what"), "No such option"),
        (("ctl", "steer", "caf\udce9"), "is not UTF-8 text"),
        (("run", "lab", "--max-hours", "nan"), "nan is no limit"),
        (("run", "lab", "--max-usd", "inf"), "inf is no limit"),
        (("run", "lab", "--agent", "openai base_url=x max_tokens=inf"), "max_tokens=inf is no number above 0"),
        (("run", "lab", "--agent", "recipes 'x"), "no closing quotation"),
        (("run", "lab", "--reviewer", "'"), "no closing quotation"),
        (("run", "lab", "--executor", "ray '"), "no closing quotation"),
        (("run", "lab", "--planner", "rules"), "agents has no 'rules'"),
        (("run", "lab", "--tracker", "no_such_tracker"), "pip install no_such_tracker"),
        (("run", "lab", "--agent", "acp command=no-such-program"), "no-such-program is not installed"),
        (("resume", "nothing"), "no run is called 'nothing'"),
        (("log",), "there is no run in runs"),
        (("compare", "lab", "starter"), "compare needs two or more"),
        (("compare", "lab", "starter", "stater"), "did you mean starter?"),
        (("init", "My Target"), "type for example my_target"),
    ],
)
def test_a_bad_word_gets_one_line_that_says_what_to_type(lab: Lab, words: tuple[str, ...], said: str) -> None:
    done = lab.call(*words)
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (lab.folder / "runs").exists()


def test_a_group_without_a_command_shows_its_help_as_it_is_laid_out(lab: Lab) -> None:
    for words in ((), ("ctl",), ("config",)):
        done = lab.call(*words)
        assert done.returncode == 4
        assert "\nCommands:\n  " in done.stderr


@pytest.mark.parametrize(
    ("agent", "key"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("deepagents", "ANTHROPIC_API_KEY"),
        ("deepagents model=openai:large base_url=http://127.0.0.1:1/v1", "OPENAI_API_KEY"),
    ],
)
def test_a_key_that_is_missing_is_said_before_anything_is_judged(
    agent: str, key: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(key, raising=False)
    done = lab.call("run", "lab", *lab.gate, "--sandbox", "none", "--agent", agent)
    assert done.returncode == 4
    assert f"{key} is not set" in done.stderr
    assert not (lab.folder / "runs").exists()


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))
"""


@pytest.mark.parametrize(
    ("agent", "absent", "extra"),
    [
        ("anthropic", "pydantic_ai", "agents"),
        ("openai", "openai", "agents"),
        ("openai base_url=http://127.0.0.1:1/v1", "pydantic_ai", "agents"),
        ("deepagents", "deepagents", "deepagents"),
        ("acp command=true", "acp", "acp"),
    ],
)
def test_a_library_that_is_missing_is_said_before_anything_is_judged(
    agent: str, absent: str, extra: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.folder / "sitecustomize.py").write_text(WITHOUT.format(absent=[absent]))
    monkeypatch.setenv("PYTHONPATH", str(lab.folder))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-nobody-takes-this")
    done = lab.call("run", "lab", *lab.gate, "--sandbox", "none", "--agent", agent)
    assert done.returncode == 4, done.stderr
    assert (
        f'its library is missing: pip install "pytest-vibeserve[{extra}]" ({absent} is not importable)' in done.stderr
    )
    assert not (lab.folder / "runs").exists()


def test_a_broken_target_file_is_named_with_its_place(lab: Lab) -> None:
    (lab.target / "target.toml").write_text("schema = = 1")
    done = lab.run()
    assert done.returncode == 4
    assert "target.toml: not valid TOML: Invalid value (at line 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_git_the_message_says_to_install_it(lab: Lab) -> None:
    bare = lab.folder / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    done = subprocess.run(
        [sys.executable, "-m", "vibeserve_loop", "run", "lab", "--sandbox", "none"],
        cwd=lab.folder, env={**os.environ, "PATH": str(bare)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr == "error: git is not installed: install it (for example `apt-get install git`) and run again\n"


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, vibeserve_loop.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_list_names_what_the_commands_take(lab: Lab) -> None:
    lab.skill("batching", faster(3))
    named = json.loads(lab.call("list", "--json").stdout)
    assert "lab" in named["targets"]
    assert {"recipes", "recorded"} <= set(named["agents"])
    assert named["policies"] == ["agent", "evolve", "plain"]
    assert {"auto", "bubblewrap", "none"} <= set(named["sandboxes"])
    assert "batching" in named["skills"]


def test_log_and_show_tell_what_happened(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.run()
    told = lab.call("log").stdout.splitlines()
    assert len(told) == 1 + len(lab.rounds())
    shown = lab.call("show", "1").stdout
    assert "better: x3.00 [2.94, 3.06] (300.0 against 100.0 tok/s, 4 pairs)" in shown
    assert "-100\n" in shown
    assert "+300.0" in shown
    assert lab.call("show", "99").returncode == 4
    assert json.loads(lab.call("show", "1", "--json").stdout)["decision"]["ruling"] == "accept"


def test_the_winner_is_exported_with_its_evidence(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.run()
    done = lab.call("export", lab.latest.name, "winner")
    assert done.returncode == 0, done.stderr
    out = lab.folder / "winner"
    assert (out / "candidate" / "speed").read_text() == "300.0"
    assert not (out / "candidate" / ".git").exists()
    assert json.loads((out / "report.json").read_text())["depth"] == "full"
    words = (out / "REPRODUCE.md").read_text()
    assert "python server.py --model MODEL --host 127.0.0.1 --port 8000" in words
    assert "x3.00 [2.94, 3.06]" in words
    assert "+300.0" in (out / "winner.patch").read_text()
    shutil.rmtree(lab.latest)
    command = words.split("cd candidate\n")[1].splitlines()[0].split()
    served = subprocess.run([sys.executable, *command[1:]], cwd=out / "candidate", capture_output=True, text=True)
    assert served.stdout == "serving\n"
    assert lab.call("export", "latest", "winner").returncode == 4


def test_compare_says_better_worse_or_no_difference_and_exits_0(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    lab.run()
    twin = lab.folder / "twin"
    shutil.copytree(lab.target / "starter", twin)
    bad = lab.folder / "bad"
    shutil.copytree(lab.target / "starter", bad)
    (bad / "wrong").write_text("")
    done = lab.call("compare", "lab", *lab.gate, "starter", "./twin", "1", f"{lab.latest.name}:0", "./bad")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("./twin against starter: no difference shown, x1.00 [0.98, 1.02]")
    assert lines[1].startswith("1 against starter: better, x3.00 [2.94, 3.06]")
    assert "no difference shown" in lines[2]
    assert lines[3] == "./bad: not measured, rejected by the gate: answers.greedy: 3 of 24 answers differ"
    commit = lab.rounds()[1]["commit"]
    worse = lab.call("compare", "lab", "--json", *lab.gate, "latest:" + commit[:12], "starter")
    assert json.loads(worse.stdout)["comparison"]["conclusion"] == "worse"


def test_a_new_target_bears_its_name_and_loads(lab: Lab) -> None:
    done = lab.call("init", "my_model")
    assert done.returncode == 0, done.stderr
    assert 'name = "my_model"' in (lab.folder / "targets" / "my_model" / "target.toml").read_text()
    assert lab.call("init", "my_model").returncode == 4
    assert "my_model" in json.loads(lab.call("list", "--json").stdout)["targets"]


def test_the_doctor_looks_at_what_is_needed(lab: Lab) -> None:
    findings = json.loads(lab.call("doctor", "--json").stdout)["findings"]
    named = {finding["name"]: finding for finding in findings}
    assert {"python", "git", "compiler", "cores", "memory", "isolation of candidates", "extra torch"} <= set(named)
    assert named["git"]["ok"]
    assert all(finding["ok"] or finding["fix"] for finding in findings)


def test_what_ends_a_command_is_never_a_traceback(lab: Lab) -> None:
    (lab.folder / "runs").write_text("in the way")
    done = lab.run()
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
