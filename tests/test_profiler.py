"""What could have been known of a load before it came: hints by the workload itself."""

from __future__ import annotations

import pytest

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.profiler import Observation, hints
from pytest_vibeserve.workload import Request


def answer(number: int, prompt: tuple[int, ...], said: str, prediction: str | None = None) -> Answer:
    request = Request(id=number, prompt_ids=prompt, prompt_text="", max_tokens=8, prediction=prediction)
    return Answer(request, 200, "", (Choice(0, (number, 2, 3), said, "length"),), sent_s=0.0, done_s=1.0)


def told(*answers: Answer) -> dict[str, float]:
    observed = {"c1": Observation(1, (Block(answers, 1.0),), None)}
    return {hint.name: hint.value for hint in hints(observed, lambda streams: 0.0, 2)}


def test_beginnings_that_prompts_share_are_told() -> None:
    alike = [answer(number, (*range(90), *[100 + number] * 10), "a") for number in range(3)]
    assert told(*alike)["shared-beginnings"] == pytest.approx(1 / (1 - 180 / 300))
    assert told(answer(0, (1, 2), "a"), answer(1, (3, 2), "a"))["shared-beginnings"] == 1


def test_what_clients_foretold_of_answers_is_told() -> None:
    right = answer(0, (1,), "abcdefgh", "abcdxfgh")
    assert told(right)["foretold-answers"] == pytest.approx(1 / (1 - 7 / 8))
    assert told(right, answer(1, (2,), "abcdefgh"))["foretold-answers"] == pytest.approx(1 / (1 - 7 / 16))
    assert "foretold-answers" not in told(answer(0, (1,), "abc"))
