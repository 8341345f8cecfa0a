"""What is proposed, and what each proposal could bring."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from test_profiling_shares import RATES, RECORDING

from pytest_vibeserve.ceiling import Cost
from pytest_vibeserve.profiling.hypotheses import Evidence, hypotheses
from pytest_vibeserve.profiling.shares import Wall
from pytest_vibeserve.profiling.stacks import Stacks

WORK = Cost(weight_bytes=500_000, operations_per_token=10_000)
STACKS = Stacks(Counter({"model": 60, "sampling": 30, "http": 10}))
SEEN = Evidence(RECORDING, Wall(0.2, 0.4, 0.2, 0.2), STACKS, busy=0.5, concurrency=16, work=WORK, rates=RATES)


def gains(seen: Evidence) -> dict[str, float]:
    return dict(hypotheses(seen)[1])


def test_what_could_be_without_a_share_of_the_time_is_that_much_faster() -> None:
    found = gains(SEEN)
    assert found["step-overhead"] == pytest.approx(1 / (1 - 0.6 * 2 / 3), rel=0.01)
    assert found["host-overhead"] == pytest.approx(1.25)
    assert found["idle-cores"] == pytest.approx(1 / (1 - 0.6 * 0.5), rel=0.01)


def test_work_of_the_host_is_divided_by_its_kinds() -> None:
    found = gains(SEEN)
    assert found["sampling-overhead"] == pytest.approx(1 / (1 - 0.15), rel=0.01)
    assert found["http-overhead"] == pytest.approx(1 / (1 - 0.05), rel=0.01)


def test_on_a_full_machine_the_hosts_work_costs_even_while_the_model_runs() -> None:
    assert gains(replace(SEEN, busy=0.95))["host-overhead"] == pytest.approx(1 / (1 - 0.4), rel=0.01)


def test_fewer_streams_in_a_step_than_there_are_is_a_chance() -> None:
    assert gains(SEEN)["serial-service"] > 1.1
    assert gains(replace(SEEN, concurrency=8))["serial-service"] == pytest.approx(1.0)


def test_without_steps_only_what_the_stacks_say_is_proposed() -> None:
    unseen = replace(SEEN, recording=replace(RECORDING, steps=()), wall=Wall(None, None, 0.8, 0.2))
    assert set(gains(unseen)) == {"host-overhead", "sampling-overhead", "http-overhead", "idle-cores"}


def test_at_most_three_are_proposed_the_largest_first_and_none_that_brings_nothing() -> None:
    found, known = hypotheses(SEEN)
    assert 1 <= len(found) <= 3
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    assert min(one.gain for one in found) > 1.03
    assert len(known) >= len(found)


def test_a_server_at_its_bound_has_nothing_proposed() -> None:
    done = Evidence(replace(RECORDING, steps=()), Wall(None, None, 0.0, 0.0), Stacks(), 1.0, 16, None, None)
    assert hypotheses(done)[0] == ()
