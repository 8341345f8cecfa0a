"""The profile for macOS, read on any machine; tests/contracts/test_sandboxes.py holds its effect where there is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from loop_lab import Lab

from pytest_vibeserve.errors import UsageError
from vibeserve_loop import resolve
from vibeserve_loop.roles import Job
from vibeserve_loop.walls.profile import profile


def _rules(job: Job, scratch: Path) -> list[str]:
    return profile(job, scratch).splitlines()


def _allowing(rules: list[str], what: str) -> str:
    return " ".join(rule for rule in rules if rule.startswith("(allow") and what in rule)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    for name in ("work", "contract", "scratch"):
        (tmp_path / name).mkdir()
    return Job(("true",), tmp_path / "work", (tmp_path / "contract",))


def test_everything_is_denied_that_no_rule_allows(job: Job, tmp_path: Path) -> None:
    rules = _rules(job, tmp_path / "scratch")
    assert rules[:2] == ["(version 1)", "(deny default)"]
    assert all(rule.count("(") == rule.count(")") for rule in rules)


def test_only_the_folder_and_the_scratch_folder_are_written_and_git_never(job: Job, tmp_path: Path) -> None:
    rules = _rules(job, tmp_path / "scratch")
    written = re.findall(r'subpath "([^"]+)"', _allowing(rules, "file-write*"))
    assert written == [str(tmp_path / "work"), str(tmp_path / "scratch")]
    last = [rule for rule in rules if "file-write*" in rule][-1]
    assert last.startswith("(deny")
    assert str(tmp_path / "work" / ".git") in last


def test_what_the_job_names_is_readable_and_the_home_is_not(job: Job, tmp_path: Path) -> None:
    read = re.findall(r'subpath "([^"]+)"', _allowing(_rules(job, tmp_path / "scratch"), "file-read*"))
    assert str(tmp_path / "contract") in read
    assert str(Path.home()) not in read
    assert "/" not in read


def test_the_network_is_one_endpoint_or_nothing(job: Job, tmp_path: Path) -> None:
    assert not [rule for rule in _rules(job, tmp_path) if "(allow network" in rule]
    told = _rules(Job(job.command, job.writable, endpoint="127.0.0.1:8123"), tmp_path)
    assert [rule for rule in told if "(allow network" in rule] == [
        '(allow network-outbound (remote ip "localhost:8123"))'
    ]


def test_a_name_with_quotes_cannot_end_its_string(tmp_path: Path) -> None:
    folder = tmp_path / 'a")(allow default)(x "'
    folder.mkdir()
    rules = _rules(Job(("true",), folder), tmp_path)
    assert not [rule for rule in rules if rule.startswith("(allow default")]
    assert any('a\\")(allow default)' in rule for rule in rules)


def test_a_target_for_metal_stays_on_this_machine(lab: Lab) -> None:
    assert resolve.best_sandbox("metal") in ("bubblewrap", "seatbelt", "none")
    with pytest.raises(UsageError, match="Metal is there for processes of this machine only"):
        resolve.check_reach("docker", "metal")
    done = lab.call("run", "lab", *lab.gate, "--sandbox", "modal")
    assert done.returncode == 4
    assert "leave --sandbox out" in done.stderr
