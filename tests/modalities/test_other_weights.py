"""Relaunched on secret weights, a server of any modality must follow them; clients that leave disturb nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from wired import judged, refused_by

from pytest_vibeserve.modalities import judge_of
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

pytestmark = pytest.mark.slow

SERVERS = {"chat": "chat_server.py", "image": "show_o2_h100", "speech": "moonshine_streaming"}


@pytest.fixture(params=list(SERVERS))
def scene(request: pytest.FixtureRequest) -> tuple[str, Path, Target, Vocabulary]:
    name = request.param
    words = "vocabulary" if name == "image" else f"{name}_vocabulary"
    model, target, vocabulary = (request.getfixturevalue(one) for one in (f"{name}_model", f"{name}_target", words))
    return SERVERS[name], model, target, vocabulary


def test_an_honest_server_follows_the_weights_and_forgets_who_left(
    scene: tuple[str, Path, Target, Vocabulary],
) -> None:
    server, model, target, vocabulary = scene
    with judged(server, model, "honest", target, vocabulary) as (bench, judge):
        judge.sessions()
        judge.canary()
        bench.depth = "full"
        judge_of(bench, model).canary()
    results = {check.name: check.result for check in bench.checks}
    assert (results["canary.weights"], results["sessions.request"], results["canary.request"]) == (
        "skip",
        "pass",
        "pass",
    )
    assert not bench.failed()


def test_a_server_that_keeps_its_own_weights_is_refused(scene: tuple[str, Path, Target, Vocabulary]) -> None:
    server, model, target, vocabulary = scene
    with judged(server, model, "honest", target, vocabulary) as (bench, _):
        bench.depth, bench.keeps = "full", model
        assert "canary.request" in refused_by(bench, judge_of(bench, model).canary)
