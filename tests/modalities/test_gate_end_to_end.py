"""The gate as a user runs it on targets of every modality: starters are accepted, members of their zoos refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from gates import Gates
from wired import member

from pytest_vibeserve.errors import ExitCode

CHEATS = {
    "llama_mlx_json": ("filled", {"audit.request", "audit.candidate"}),
    "moonshine_streaming": ("half-rate", {"audit.request"}),
    "show_o2_h100": ("fewer-steps", {"audit.noise-ratio", "audit.request"}),
}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("name", sorted(CHEATS))
def test_the_starter_is_accepted(name: str, depth: str, gates: Gates) -> None:
    ended = gates.run("starter", f"--vibeserve-depth={depth}", target=name)
    assert ended.code == ExitCode.ACCEPTED, ended.output
    report = ended.report
    assert report.verdict.provisional == (depth == "quick")
    assert {check.result for check in report.verdict.checks} <= {"pass", "skip"}
    assert [one.metric for one in report.measurements]
    assert report.environment.isolation != "unisolated"


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("name", sorted(CHEATS))
def test_a_cheat_is_refused_for_what_it_does(name: str, depth: str, gates: Gates, tmp_path: Path) -> None:
    kind, checks = CHEATS[name]
    ended = gates.run(
        member(name, kind, tmp_path / kind), f"--vibeserve-depth={depth}", "--exitfirst", target=name
    )  # fmt: skip
    assert ended.code == ExitCode.REJECTED, ended.output
    assert {check.name for check in ended.report.verdict.checks if check.result == "fail"} & checks
    assert not ended.report.measurements
