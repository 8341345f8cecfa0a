"""What the machine says of a run: bounds that honest numbers stay far from and impossible ones break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.integrity import Run, Work, dense_work, idle_rate, physics, settled_cpu_s
from pytest_vibeserve.loads import Load
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.workload import Request

WORK = Work(operations_per_token=1e8, operations_per_cpu_s=1e11, cores=2)
"""A millisecond of one core for each token."""


def run(wall_s: float, cpu_s: float | None, *, first_s: float = 0.1, load: Load | None = None) -> Run:
    """Ten requests of 32 prompt and 8 answer tokens: 0.4 CPU seconds of arithmetic."""
    request = Request(id=0, prompt_ids=tuple(range(32)), max_tokens=8)
    events = tuple(Event(first_s + 0.01 * number, 0, 1, "") for number in range(8))
    answer = Answer(request, 200, "", (Choice(0, tuple(range(8)), "", "length"),), events, done_s=wall_s)
    return Run(load or Load(name="c16", concurrency=16), (Block((answer,) * 10, wall_s),), cpu_s, 0.0, WORK)


@pytest.mark.parametrize(("cpu_s", "result"), [(8.0, "pass"), (0.5, "pass"), (0.1, "fail"), (0.0, "fail")])
def test_a_server_that_uses_less_cpu_time_than_the_arithmetic_did_not_do_it(cpu_s: float, result: str) -> None:
    assert physics.worked(run(2.0, cpu_s), quantization=False).result == result


def test_eight_bits_may_be_faster_where_they_are_allowed() -> None:
    assert physics.worked(run(2.0, 0.1), quantization=True).result == "pass"


@pytest.mark.parametrize(("wall_s", "result"), [(2.0, "pass"), (0.2, "pass"), (0.05, "fail")])
def test_no_block_is_faster_than_all_cores_together(wall_s: float, result: str) -> None:
    assert physics.below_light(run(wall_s, 1.0), quantization=False).result == result


@pytest.mark.parametrize(("first_s", "result"), [(0.1, "pass"), (0.016, "pass"), (0.002, "fail")])
def test_no_first_token_comes_before_its_prompt_is_computed(first_s: float, result: str) -> None:
    assert physics.prefilled(run(2.0, 1.0, first_s=first_s), quantization=False).result == result


def test_prompts_that_a_store_of_prefixes_may_know_need_no_arithmetic() -> None:
    sessions = run(2.0, 0.05, first_s=0.001, load=Load(name="sessions", arrival="sessions"))
    assert sessions.new_tokens == (80,)
    assert physics.worked(sessions, quantization=False).result == "pass"
    assert physics.prefilled(sessions, quantization=False).result == "pass"


def test_nothing_is_said_of_a_server_whose_work_cannot_be_seen() -> None:
    unseen = replace(run(0.001, None), work=None, cpu_after_s=None)
    for check in (physics.worked, physics.below_light, physics.prefilled):
        assert check(unseen, quantization=False).result == "skip"
    assert physics.deferred(unseen).result == "skip"


@pytest.mark.parametrize(("after_s", "result"), [(0.0, "pass"), (0.6, "pass"), (3.0, "fail")])
def test_work_after_the_last_answer_is_charged_beyond_threads_that_spin(after_s: float, result: str) -> None:
    assert physics.deferred(replace(run(2.0, 2.0), cpu_after_s=after_s)).result == result


def counted(rates: list[float]) -> Callable[[], float]:
    """CPU seconds as a server reports them that uses these amounts from one look to the next."""

    def totals() -> Iterator[float]:
        total = 0.0
        yield total
        for used in rates:
            total += used
            yield total

    seen = totals()
    return lambda: next(seen)


def test_a_server_at_rest_is_waited_for_once() -> None:
    assert settled_cpu_s(counted([0.0])) == 0.0
    assert settled_cpu_s(counted([0.3, 0.2, 0.0])) == pytest.approx(0.5)


def test_a_server_that_spins_for_ever_is_idle_at_that_rate() -> None:
    assert idle_rate(counted([0.25] * 16)) == pytest.approx(1.0)
    assert idle_rate(counted([0.5] * 4 + [0.0])) == pytest.approx(0.0)
    assert settled_cpu_s(counted([0.25] * 16), 1.0) == pytest.approx(0.0)


def test_a_server_that_works_on_for_ever_is_charged_for_it() -> None:
    assert settled_cpu_s(counted([0.25] * 16), 0.0) == pytest.approx(4.0)
    assert settled_cpu_s(counted([0.5] * 4 + [0.25] * 12), 1.0) == pytest.approx(1.0)


def test_a_server_that_nobody_can_see_has_no_cpu_time() -> None:
    assert settled_cpu_s(lambda: None) is None


def test_a_mixture_of_experts_does_not_cost_all_its_operations(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hidden_size": 64, "num_local_experts": 8}))
    assert dense_work(tmp_path, 1000) is None
    config.write_text(json.dumps({"hidden_size": 64}))
    work = dense_work(tmp_path, 1000)
    assert work is not None
    assert work.operations_per_cpu_s > 1e8
    assert work.cpu_s(10) == pytest.approx(10_000 / work.operations_per_cpu_s)
