"""What a client predicts of an answer must not show in it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from engine import Body, Bound

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge import ContractBroken
from pytest_vibeserve.judge.predictions import kinds
from pytest_vibeserve.workload import Request, Vocabulary

Bind = Callable[[int], Bound]


def test_a_server_that_does_not_look_at_predictions_passes(bound: Bind) -> None:
    server = bound(21)
    server.judge.predictions()
    assert {check.result for check in server.engine.checks} == {"pass"}
    assert "predictions.request" in {check.name for check in server.engine.checks}


def test_a_server_that_says_what_is_expected_fails(bound: Bind, vocabulary: Vocabulary) -> None:
    def echoed(body: Body, said: Body) -> Body:
        expected = body.get("prediction", {}).get("content")
        for choice in said["choices"]:
            if isinstance(expected, list) and len(expected) >= len(choice["token_ids"]):
                ids = expected[: len(choice["token_ids"])]
                choice |= {"token_ids": ids, "text": vocabulary.decode(ids)}
        return said

    server = bound(22)
    server.engine.faults.served = echoed
    with pytest.raises(ContractBroken, match=r"predictions\."):
        server.judge.predictions()


def test_predictions_are_of_every_kind() -> None:
    request = Request(0, (0, 5), 4)
    one, other = (Answer(request, 200, "", (Choice(0, ids, "text", "length"),)) for ids in ((7, 8, 9), (1, 2, 3)))
    found = kinds(one, [other], range(4, 9), random.Random(1))
    assert (found["right"], found["right text"], found["foreign"], found["empty"]) == ((7, 8, 9), "text", (1, 2, 3), "")
    assert len(found["endless"] or ()) == 24
    assert sorted(found["shuffled"] or ()) == [7, 8, 9]
