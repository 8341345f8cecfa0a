from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loop_lab import CANDIDATE, TARGET

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from vibeserve_loop.validation.faults import KINDS
from vibeserve_loop.validation.validate import Finding, validate

# A gate whose contract sees the kinds that the file `sees` in the target's folder names; it counts how often it ran.
GATE = """
import json, pathlib, sys
given = dict(zip(sys.argv, sys.argv[1:]))
target, candidate = (pathlib.Path(given[f"--vibeserve-{name}"]) for name in ("target", "candidate"))
text = (candidate / "candidate.toml").read_text()
kind = text.split('"--kind", "')[1].split('"')[0] if "--kind" in text else "starter"
sees = (target / "sees").read_text().split()
with open(__file__ + ".log", "a") as log:
    log.write(f"{kind} {given['--vibeserve-profile']} {'--exitfirst' in sys.argv}\\n")
smokes = "smoke" in sees and len(open(__file__ + ".log").readlines()) < 3
outcome = "infrastructure" if "fire" in sees or smokes else "rejected" if kind in sees else "accepted"
name = {"greedy": "sampled.surprisal"}.get(kind, "audit.request")
check = {"name": name, "result": "fail" if kind in sees else "pass", "detail": "d"}
machine = {"isolation": "none", "platform": "p", "cpu": "c", "cores": 2, "memory_gib": 8, "python": "3"}
report = {
    "schema": 1, "target": {"name": "lab", "profile": "full", "digest": "", "suite_digest": ""},
    "candidate": {"path": "", "tree": ""}, "depth": "quick", "seed": {"commitment": "c", "reveal": "r"},
    "environment": machine, "verdict": {"outcome": outcome, "reason": "because", "checks": [check]}, "command": "",
    "nonce": given["--vibeserve-nonce"], "tests": ["t"], "expected": ["t"], "wall_s": 0.1,
}
pathlib.Path(given["--vibeserve-report"]).write_text(json.dumps(report))
sys.exit({"accepted": 0, "rejected": 1, "infrastructure": 3}[outcome])
"""
FAULTS = {name for name, kind in KINDS.items() if kind.check}
HONEST = set(KINDS) - FAULTS
TINY = "[profiles.tiny.model]\nid = 'tiny'\n"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ExitCode]:
    """Validates a target whose contract sees these kinds, with findings kept below the test's own folder."""
    monkeypatch.setenv("VIBESERVE_CACHE", str(tmp_path / "cache"))
    folder, gate = tmp_path / "lab", tmp_path / "gate.py"
    (folder / "starter").mkdir(parents=True)
    (folder / "starter" / "candidate.toml").write_text(CANDIDATE)
    gate.write_text(GATE)

    def validated(sees: set[str], tiny: bool = False) -> ExitCode:
        (folder / "target.toml").write_text(TARGET + (TINY if tiny else ""))
        (folder / "sees").write_text(" ".join(sorted(sees)))
        return validate(str(folder), "full", (sys.executable, str(gate)), as_json=True)

    return validated


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, Finding]:
    lines = capsys.readouterr().out.splitlines()
    return {found.candidate: found for found in map(Finding.model_validate_json, lines)}


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "gate.py.log").read_text().splitlines()


def test_a_contract_that_tells_them_apart_holds(
    lab: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(FAULTS) == ExitCode.ACCEPTED
    found = findings(capsys)
    assert set(found) == {"starter", *(f"fault {name}" for name in FAULTS), *(f"honest {name}" for name in HONEST)}
    assert all(one.right and not one.advice for one in found.values())


def test_a_weak_contract_is_told_what_gets_through_and_what_would_see_it(
    lab: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(FAULTS - {"greedy", "memoised"}) == ExitCode.REJECTED
    wrong = {name: one.advice for name, one in findings(capsys).items() if not one.right}
    assert wrong == {
        "fault greedy": "a server that ignores sampling gets through; judge.sampled() in a test would see it",
        "fault memoised": "a server that answers a prompt that came before from a store gets through; "
        "judge.repeats() in a test would see it",
    }


def test_a_contract_that_wrongs_the_honest_does_not_hold(
    lab: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(FAULTS | {"paired", "starter"}) == ExitCode.REJECTED
    assert {name for name, one in findings(capsys).items() if not one.right} == {"starter", "honest paired"}


def test_what_was_found_is_kept_until_the_contract_changes(lab: Callable[..., ExitCode], tmp_path: Path) -> None:
    assert lab(FAULTS) == ExitCode.ACCEPTED
    ran = len(asked(tmp_path))
    assert lab(FAULTS) == ExitCode.ACCEPTED
    assert len(asked(tmp_path)) == ran
    assert lab(FAULTS - {"greedy"}) == ExitCode.REJECTED
    assert len(asked(tmp_path)) == 2 * ran


def test_only_the_starter_is_judged_in_full_where_there_is_a_tiny_profile(
    lab: Callable[..., ExitCode], tmp_path: Path
) -> None:
    assert lab(FAULTS, tiny=True) == ExitCode.ACCEPTED
    said = dict(line.split(" ", 1) for line in asked(tmp_path))
    assert said.pop("starter") == "full False"
    assert {name: said[name] for name in HONEST} == dict.fromkeys(HONEST, "tiny False")
    assert {name: said[name] for name in FAULTS} == dict.fromkeys(FAULTS, "tiny True")


def test_a_machine_that_fails_says_nothing_about_the_contract(lab: Callable[..., ExitCode], tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="starter: because"):
        lab({"fire"})
    assert asked(tmp_path) == ["starter full False"] * 3
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_what_a_busy_machine_kept_from_being_judged_is_judged_again(
    lab: Callable[..., ExitCode], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert lab(FAULTS | {"smoke"}) == ExitCode.ACCEPTED
    assert asked(tmp_path)[:4].count("starter full False") == 3
    assert "note: starter: nothing was said about it: because; once more" in capsys.readouterr().err


def test_a_target_without_a_starter_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "target.toml").write_text(TARGET)
    with pytest.raises(UsageError, match=r"no starter/candidate\.toml"):
        validate(str(tmp_path / "bare"), "full", (), as_json=True)


def test_a_finding_is_one_line_of_json() -> None:
    found = Finding(candidate="starter", right=True, outcome="accepted", reason="r")
    assert json.loads(found.model_dump_json())["event"] == "finding"
