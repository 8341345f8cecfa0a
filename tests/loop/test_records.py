"""Records become JSON that any program reads."""

from __future__ import annotations

import json
import math

from pytest_vibeserve.report import Comparison
from vibeserve_loop.records import Assessment, plain


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
