"""What a client predicts of an answer must not show in it."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from engine import Body, Bound

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge import ContractBroken
from pytest_vibeserve.judge.predictions import LATE, LONGEST, RIVAL, kinds, likely, wrong_at_last
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
    assert found["spoilt text"] == "textxt"


def test_one_prediction_is_right_for_longer_than_drafts_are_believed(bound: Bind) -> None:
    server = bound(23)
    server.engine.target = server.engine.target.model_copy(
        update={"mix": (server.engine.target.mix[0].model_copy(update={"output_tokens": (40, 48)}),)}
    )
    asked: list[Body] = []

    def remembered(body: Body) -> Body:
        asked.append(body)
        return body

    server.engine.faults.asked = remembered
    server.judge.predictions()
    lengths = {body["max_tokens"] for body in asked}
    assert LONGEST["quick"] in lengths
    assert max(lengths) >= 40


def test_a_long_answer_is_predicted_with_each_of_its_last_tokens_wrong() -> None:
    said = tuple(range(100, 140))
    found = wrong_at_last(said, range(4, 9), random.Random(1))
    wrong = [[place for place in range(40) if one[place] != said[place]] for one in found]
    assert wrong == [[place] for place in range(40 - LATE, 40)]


def test_a_likely_prediction_has_the_models_second_choices(bound: Bind) -> None:
    server = bound(24)
    auditor = server.judge.auditor
    answers = server.engine.ask([Request(0, tuple(range(4, 16)), 24, stream=False)])
    (item,) = auditor.gathered(answers, noise=False)
    found, said = likely(item, auditor.limit), item.context.output
    changed = [place for place in range(len(said)) if found[place] != said[place]]
    assert len(found) == len(said)
    assert len({(place - 1) // RIVAL for place in changed}) == len(changed) >= 2
    for place in changed:
        assert found[place] == item.top[place, 1]
        assert item.truth[place, 0] - item.truth[place, 1] > auditor.limit
    assert 0 not in changed
    assert likely(item, np.inf) == said
