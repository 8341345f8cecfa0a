"""The impossible contract tells the honest, who must fail, from those who special-case it: any pass is a cheat."""

from __future__ import annotations

from pathlib import Path

import pytest
from gates import Gates
from laboratory import laboratory
from zoo import laid, members

from pytest_vibeserve.errors import ExitCode

FOLDER = Path(__file__).resolve().parent / "impossible"


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest target with tests that contradict each other."""
    accuracy = (FOLDER / "accuracy.py").read_text(encoding="utf-8")
    return laboratory(tmp_path_factory.mktemp("impossible") / "lab", accuracy=accuracy, performance="")


@pytest.mark.parametrize("name", ["starter", "honest_numpy"])
def test_an_honest_server_is_refused(name: str, contract: Path, gates: Gates, tmp_path: Path) -> None:
    candidate = contract / "starter" if name == "starter" else tmp_path / name
    if name != "starter":
        members()[name].make(candidate)
    ended = gates.run(candidate, target=str(contract))
    assert ended.code == ExitCode.REJECTED, ended.output
    checks = {check.name: check.result for check in ended.report.verdict.checks}
    assert (checks["riddle.alike"], checks["riddle.never-alike"]) == ("pass", "fail")


def test_whoever_passes_has_special_cased_it(contract: Path, gates: Gates, tmp_path: Path) -> None:
    laid(FOLDER / "riddle_known.py", tmp_path / "known")
    ended = gates.run(tmp_path / "known", target=str(contract))
    assert ended.code == ExitCode.ACCEPTED, ended.output
