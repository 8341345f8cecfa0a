"""An answer without token ids is followed along its text: what the model said is found again, other words are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from engine import Bound

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.probes import drawn

Bind = Callable[[int], Bound]


def greedy(server: Bound, seed: int) -> tuple[list[Answer], list[Answer]]:
    """Answers with ids, and the same without."""
    requests = [
        replace(one, id=index, temperature=0.0, top_p=1.0, top_k=0)
        for index, one in enumerate(drawn(server.engine, random.Random(seed), 24))
    ]
    return server.engine.ask(requests), server.engine.ask([replace(one, token_ids=False) for one in requests])


@pytest.mark.parametrize("seed", [11, 12])
def test_the_ids_of_a_text_are_found_again_though_its_characters_are_broken(
    bound: Bind, auditor: Auditor, seed: int
) -> None:
    with_ids, without = greedy(bound(seed), seed)
    told = auditor.told(without)
    assert any("\ufffd" in answer.choices[0].text for answer in told)
    assert max(item.worst for item in auditor.gathered(told, noise=False)) <= auditor.limit
    found = sum(one.choices[0].ids == other.choices[0].ids for one, other in zip(with_ids, told, strict=True))
    # Of bytes at the end that are no character a text does not show how many there were.
    assert found >= 20


def test_words_behind_the_last_token_that_was_allowed_are_not_the_models(bound: Bind, auditor: Auditor) -> None:
    _, without = greedy(bound(11), 11)
    whole = [answer for answer in without if answer.choices[0].finish_reason == "length"]
    longer = [
        replace(answer, choices=(replace(answer.choices[0], text=answer.choices[0].text + " and so on"),))
        for answer in whole
    ]
    assert all(item.worst > auditor.limit for item in auditor.gathered(longer, noise=False))
