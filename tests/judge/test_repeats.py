"""Stored answers show in the time of a repeat, noise and stored prefixes do not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from engine import Body, Bound

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import ContractBroken
from pytest_vibeserve.judge.repeats import Pair, check
from pytest_vibeserve.workload import Request

Bind = Callable[[int], Bound]
ANSWER = Answer(Request(0, (0, 5), 4), 200, "")


def _pairs(again: Callable[[random.Random], float], count: int = 8) -> list[Pair]:
    draws = random.Random(3)
    return [Pair(0.1 * draws.lognormvariate(0, 0.3), again(draws), ANSWER) for _ in range(count)]


def test_repeats_that_take_as_long_pass_in_spite_of_noise() -> None:
    for speculation in (True, False):
        assert check(_pairs(lambda draws: 0.1 * draws.lognormvariate(0, 0.3)), speculation).result == "pass"


def test_a_saved_prefill_passes() -> None:
    assert check(_pairs(lambda draws: 0.08 * draws.lognormvariate(0, 0.1)), False).result == "pass"


def test_stored_answers_fail() -> None:
    found = check(_pairs(lambda draws: 0.002), True)
    assert found.result == "fail"
    assert "of a fresh prompt's time" in found.example


def test_answers_stored_for_most_prompts_fail() -> None:
    assert check(_pairs(lambda draws: 0.002 if draws.random() < 0.8 else 0.1, 24), True).result == "fail"


def test_a_drawn_answer_that_comes_again_fails(bound: Bind) -> None:
    server = bound(1)
    store: dict[str, Body] = {}
    server.engine.faults.served = lambda body, said: store.setdefault(str(body["prompt"]), said)
    with pytest.raises(ContractBroken, match=r"repeats\.sampled"):
        server.judge.repeats()


def test_a_target_may_allow_stored_answers(bound: Bind) -> None:
    server = bound(2)
    target = server.engine.target
    server.engine.target = target.model_copy(update={"rules": target.rules.model_copy(update={"response_cache": True})})
    server.judge.repeats()
    assert [check.result for check in server.engine.checks] == ["skip"]
