"""Honest servers are accepted, whichever way they compute: a representative part of them."""

from __future__ import annotations

import pytest
from gates import Gates
from zoo import CORE, begin_all, honest

from pytest_vibeserve.errors import ExitCode


@pytest.fixture(scope="module")
def judged(request: pytest.FixtureRequest, gates: Gates) -> Gates:
    begin_all(request, gates, "targets/tiny_llama/test_accuracy.py")
    return gates


@pytest.mark.parametrize("name", sorted(CORE & set(honest())))
def test_an_honest_server_is_accepted(name: str, judged: Gates) -> None:
    ended = judged.result(name)
    assert ended.code == ExitCode.ACCEPTED, ended.output
    verdict = ended.report.verdict
    assert verdict.outcome == "accepted"
    assert verdict.provisional
    assert {check.result for check in verdict.checks} <= {"pass", "skip"}
