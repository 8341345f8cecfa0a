"""Records become JSON that any program reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from loop_lab import Lab
from planner_lab import answer
from pydantic import ValidationError
from round_lab import starter

from pytest_vibeserve.report import Comparison
from pytest_vibeserve.target import load_target
from vibeserve_loop.planning.answer import PLAN_FILE, read_answer
from vibeserve_loop.proposals import Expectation, Item
from vibeserve_loop.records import Assessment, Order, Spend, plain


def test_numbers_that_json_does_not_have_are_written_by_their_names() -> None:
    compared = Comparison(
        baseline="base", baseline_tree="t", metric="goodput", load="c16", gain=math.inf, low=0.0, high=math.inf,
        pairs=6, conclusion="better", baseline_value=0.0, candidate_value=math.nan, unit="req/s",
    )  # fmt: skip
    told = plain(Assessment(outcome="accepted", reason="", comparison=compared))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["comparison"]["gain"], told["comparison"]["candidate_value"]) == ("Infinity", "NaN")
    again = Assessment.model_validate(told).comparison
    assert again is not None
    assert (again.gain, math.isnan(again.candidate_value)) == (math.inf, True)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Spend(usd=math.inf),
        lambda: Spend(usd=-0.01),
        lambda: Spend(tokens_in=2**53 + 1),
        lambda: Item(id="cache", weight=math.inf),
        lambda: Expectation(metric="ttft", at_least=math.nan),
        lambda: Order(verb="budget", limits=(("max_usd", math.inf),)),
    ],
)
def test_what_could_not_be_read_again_is_no_record(made: Callable[[], object]) -> None:
    with pytest.raises(ValidationError):
        made()


def test_a_plan_that_expects_more_than_any_number_is_not_followed(lab: Lab) -> None:
    words = json.dumps(answer("fewer kernels", "200")).replace('"at_least": 1.2', '"at_least": 1e999')
    assert "1e999" in words
    (lab.folder / PLAN_FILE).write_text(words)
    found, why = read_answer(lab.folder, (starter(),), load_target(str(lab.target)))
    assert found is None
    assert "at_least: Input should be a finite number" in why
