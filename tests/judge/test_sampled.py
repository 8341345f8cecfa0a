"""Sampled answers: honest ones are accepted, every bent way of sampling is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine import Body, Bound

from pytest_vibeserve.judge import ContractBroken

Bind = Callable[[int], Bound]


@pytest.mark.parametrize("seed", range(4))
def test_honest_sampling_in_the_models_own_precision_is_accepted(bound: Bind, seed: int) -> None:
    server = bound(seed)
    server.judge.sampled()
    assert {check.result for check in server.engine.checks} == {"pass"}


@pytest.mark.parametrize(
    ("bent", "check"),
    [
        ({"temperature": 0}, "sampled.surprisal"),
        ({"temperature": 0.5}, "sampled.surprisal"),
        ({"top_p": 1.0}, "sampled.support"),
        ({"top_k": 0}, "sampled.support"),
        ({"temperature": 1.5}, "sampled.surprisal"),
    ],
    ids=["greedy", "colder", "top_p ignored", "top_k ignored", "hotter"],
)
def test_bent_sampling_is_refused(bound: Bind, bent: Body, check: str) -> None:
    server = bound(11)
    server.engine.faults.asked = lambda body: body | bent
    with pytest.raises(ContractBroken):
        server.judge.sampled()
    assert server.failed() & {check, "sampled.ranks"}


def test_low_temperatures_taken_for_nought_are_refused_by_themselves(bound: Bind) -> None:
    server = bound(13)
    server.engine.depth = "full"
    server.engine.faults.asked = lambda body: body | ({"temperature": 0} if body["temperature"] < 0.5 else {})
    with pytest.raises(ContractBroken, match="at low temperatures are likelier"):
        server.judge.sampled()


def test_copies_in_place_of_draws_are_refused(bound: Bind) -> None:
    server = bound(12)

    def copied(body: Body, said: Body) -> Body:
        first = said["choices"][0]
        return said | {"choices": [first | {"index": choice["index"]} for choice in said["choices"]]}

    server.engine.faults.served = copied
    with pytest.raises(ContractBroken, match="repeat one choice"):
        server.judge.sampled()
