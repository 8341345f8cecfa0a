"""What the README tells people to type is what works."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.report import read_report

WORKERS = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
SHORT = ("--profile", "tiny", "--max-rounds", "1", "--max-hours", "0.1", "--json")


def _blocks(root: Path) -> list[str]:
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```(?:sh|toml)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def _last_command(block: str) -> list[str]:
    """The last of a block's commands, on this interpreter instead of the README's environment."""
    words = shlex.split(block.strip().split("&&")[-1])
    program = Path(words[0])
    assert program.parts[:2] == (".venv", "bin"), words
    if program.name == "python":
        return [sys.executable, *words[1:]]
    assert program.name == "vibeserve-loop"
    return [sys.executable, "-m", "vibeserve_loop", *words[1:]]


def _under(root: Path, heading: str) -> str:
    text = (root / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}\n\n```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def test_the_readme_is_short(root: Path) -> None:
    assert len((root / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_the_first_command_finds_a_winner(root: Path, tmp_path: Path) -> None:
    command = [*_last_command(_under(root, "Run it")), *SHORT, "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == ExitCode.ACCEPTED, done.stderr[-2000:] + done.stdout[-4000:]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events
    rounds = next((tmp_path / "runs").glob("*/rounds.jsonl")).read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["task"]["kind"] for line in rounds]
    assert kinds[0] == "starter"
    assert "work" in kinds


def test_the_command_of_the_tests_is_the_one_that_runs_them(root: Path) -> None:
    assert _last_command(_under(root, "Test it")) == [sys.executable, "-m", "pytest", *WORKERS]


def test_a_candidate_as_the_readme_writes_it_is_judged(root: Path, tmp_path: Path) -> None:
    candidate = next(block for block in _blocks(root) if "schema = 1" in block)
    judging = next(block for block in _blocks(root) if "--vibeserve-candidate my_server" in block)
    shutil.copytree(root / "targets" / "tiny_llama" / "starter", tmp_path / "my_server")
    (tmp_path / "my_server" / "candidate.toml").write_text(candidate, encoding="utf-8")
    command = [*_last_command(judging), "--vibeserve-profile", "tiny", "--vibeserve-depth", "quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == ExitCode.ACCEPTED, done.stdout[-2000:]
    assert read_report(tmp_path / "report.json").verdict.outcome == "accepted"


def test_a_gate_needs_none_of_what_only_the_tests_need(root: Path) -> None:
    judging = next(block for block in _blocks(root) if "--vibeserve-candidate my_server" in block)
    command = [*_last_command(judging), "-p", "no:timeout", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == ExitCode.USAGE
    assert "my_server" in done.stdout + done.stderr
    assert "Unknown config option" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["init", "validate", "resume", "export", "compare"])
def test_the_commands_that_the_readme_names_exist(name: str, root: Path) -> None:
    assert f"vibeserve-loop {name}" in (root / "README.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "vibeserve_loop", name, "--help"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
