"""What a page tells of a run follows from its comparisons, with all their doubt."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_run import Sample, measurements, sample

from vibeserve_loop.records import Decision, Round, Task
from vibeserve_loop.report_page.facts import Standing, beaten, read_run, rivals, standings, trade_off


def a_round(number: int) -> Round:
    decision = Decision(ruling="accept", reason="")
    return Round(schema=1, round=number, task=Task(kind="work"), decision=decision, started=1.0, wall_s=1.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20), st.floats(0, 0.4))
def test_a_point_is_beaten_only_when_another_lies_wholly_above_it_in_both(
    pairs: list[tuple[int, int]], width: float
) -> None:
    points = [
        tuple(Standing(a_round(number), gain, gain * (1 - width), gain * (1 + width)) for gain in pair)
        for number, pair in enumerate(pairs)
    ]
    lost = beaten([(up, across) for up, across in points])
    for number, (up, across) in enumerate(pairs):
        by_value = any(a > up and b > across for a, b in pairs)
        apart = any(a * (1 - width) > up * (1 + width) and b * (1 - width) > across * (1 + width) for a, b in pairs)
        assert (number in lost) is apart
        assert by_value or number not in lost


def test_a_standing_has_the_doubt_of_every_comparison_on_its_way(tmp_path: Path) -> None:
    rounds = read_run(sample(tmp_path)).rounds
    *_, last, final = standings(rounds)
    assert last.record.round == 3
    assert last.gain == pytest.approx(3.0)
    wide = math.sqrt(2) * math.log(1 / 0.97)
    assert math.log(last.gain / last.low) == pytest.approx(wide)
    assert math.log(final.gain / final.low) == pytest.approx(math.log(1 / 0.97)), "it met the starter itself"


def test_the_trade_off_is_drawn_from_gains_and_says_who_is_beaten_for_sure(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    run = read_run(folder)
    keys = rivals(run)
    assert keys == (("output_throughput", "c16"), ("ttft_p50", "c16"))
    found = trade_off(run, keys)
    assert [pair[0].record.round for pair in found] == [0, 1, 2, 3, 4]
    assert beaten(found) == {0, 1, 2}


def test_objectives_that_pull_one_way_have_a_trade_off_too(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    run = read_run(folder)
    found = [one.model_copy(update={"direction": "min"}) for one in measurements(100.0)]
    starter = run.rounds[0]
    assert starter.assessment is not None
    assessment = starter.assessment.model_copy(update={"measurements": tuple(found)})
    rounds = (starter.model_copy(update={"assessment": assessment}), *run.rounds[1:])
    assert rivals(replace(run, rounds=rounds)) == (("output_throughput", "c16"), ("ttft_p50", "c16"))


def test_a_run_that_compared_nothing_has_no_trade_off(tmp_path: Path) -> None:
    made = Sample(tmp_path, "new")
    assert rivals(read_run(made.folder)) is None
