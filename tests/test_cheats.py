"""A representative part of the cheats is refused by the real gate, each for what it does."""

from __future__ import annotations

import pytest
from gates import Gates
from zoo import CORE, begin_all, cheats

from pytest_vibeserve.errors import ExitCode


@pytest.fixture(scope="module")
def judged(request: pytest.FixtureRequest, gates: Gates) -> Gates:
    begin_all(request, gates, "--exitfirst")
    return gates


@pytest.mark.parametrize("name", sorted(CORE & set(cheats())))
def test_a_cheat_is_rejected_for_what_it_does(name: str, judged: Gates) -> None:
    ended = judged.result(name)
    assert ended.code == ExitCode.REJECTED, ended.output
    verdict = ended.report.verdict
    assert verdict.outcome == "rejected"
    failed = [check for check in verdict.checks if check.result == "fail"]
    assert any(cheats()[name].seen_by(check.name) for check in failed), verdict.reason
    assert [check for check in failed if check.example or check.detail]
    assert not ended.report.measurements
