"""What hints and insights are worth to a search, and what an agent is told of them."""

from __future__ import annotations

import pytest
from round_lab import a_round, assessed, starter, worked

from pytest_vibeserve.insight import Gap, Hypothesis, Insight, Operator
from pytest_vibeserve.target import Target
from vibeserve_loop.brief import insight_of, write_brief
from vibeserve_loop.ledger.hints import changed, issues_of, told_insight
from vibeserve_loop.records import Task

SEEN = Insight(
    load="c16", seconds=3.0, sources=("torch", "py-spy"), prefill=0.1, decode=0.6, host=0.2, idle=0.1, busy=0.7,
    launch_bound=0.5, gaps=(Gap(cause="work of the host", share=0.2, longest_ms=4.0),),
    operators=(Operator(name="addmm", share=0.2, calls_per_s=900, roofline=0.4),),
    functions=(("choose (sampling.py)", 0.2),), occupancy=(1, 2, 3),
    gains=(("step-overhead", 1.5), ("http-overhead", 1.0)),
    hypotheses=(Hypothesis(relieves="step-overhead", gain=1.5, text="half of a step passes between operators"),),
    notes=("py-spy saw half",),
)  # fmt: skip


def test_what_was_seen_inside_weighs_by_its_gain_in_place_of_what_was_told_from_outside() -> None:
    found = assessed(1.0).model_copy(update={"insight": SEEN})
    issues = {issue.name: issue for issue in issues_of(starter().model_copy(update={"assessment": found}))}
    assert issues["step-overhead"].weight == pytest.approx(1 / 3)
    assert issues["step-overhead"].text == "half of a step passes between operators"
    assert issues["serial-service"].weight == pytest.approx(0.75)
    assert issues["http-overhead"].weight == 0


def test_without_an_insight_the_hints_from_outside_hold() -> None:
    assert [issue.name for issue in issues_of(starter())] == ["step-overhead", "serial-service", "idle-cores"]


def test_shares_that_moved_are_told_the_largest_change_first() -> None:
    after = SEEN.model_copy(update={"decode": 0.3, "host": 0.32, "idle": 0.13})
    assert changed(SEEN, after) == "decode 60% to 30%, host 20% to 32%"
    assert changed(SEEN, SEEN) == "no share moved by a twentieth"


def test_an_agent_is_told_the_hypotheses_first_and_what_was_not_seen_last() -> None:
    lines = told_insight(SEEN, None)
    assert lines[0] == "at most x1.50 by step-overhead: half of a step passes between operators"
    assert "share of the wall: prefill 10%, decode 60%, host 20%, idle 10%" in lines
    assert "operator addmm: 20% of the wall, 900 calls a second, 40% of its roofline" in lines
    assert lines[-1] == "not seen: py-spy saw half"


def test_a_brief_says_what_changed_inside_since_the_parent(tiny: Target) -> None:
    before = starter().model_copy(update={"assessment": assessed(1.0).model_copy(update={"insight": SEEN})})
    after = SEEN.model_copy(update={"decode": 0.3, "host": 0.5})
    kept = worked(1, 1.5).model_copy(update={"assessment": assessed(1.5).model_copy(update={"insight": after})})
    told = write_brief(2, Task(kind="work", base=1, hypothesis="faster"), (before, kept), tiny, 0).text
    assert "Inside round 1" in told
    assert "since the parent: decode 60% to 30%, host 20% to 50%" in told


def test_a_round_without_an_insight_tells_none() -> None:
    record = a_round(1, Task(kind="work", base=0), assessed(1.2))
    assert insight_of((starter(), record), record) == []
