"""Nothing is believed that the machine cannot do, and no honest server comes near."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_ceiling import a_model

from pytest_vibeserve.ceiling import Cost
from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.integrity import Run
from pytest_vibeserve.loads import Load
from pytest_vibeserve.machine_rates import LARGEST_BUFFER, Machine, machine
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.needs import needs
from pytest_vibeserve.roofline import LEEWAY, QUANTIZED, Roofline, believed, roofline
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request

PROMPT, TOKENS, REQUESTS = 32, 8, 10
RATES = Machine(bytes_per_s=1e9, operations_per_s=1e9)


def a_run(wall_s: float, first_s: float = 0.5, load: Load | None = None, kind: str = "fresh") -> Run:
    """Ten requests, each answered when the block ends."""
    request = Request(id=0, prompt_ids=tuple(range(PROMPT)), max_tokens=TOKENS, kind=kind)
    events = tuple(Event(first_s + 0.01 * number, 0, 1, "") for number in range(TOKENS))
    answer = Answer(request, 200, "", (Choice(0, tuple(range(TOKENS)), "", "length"),), events, done_s=wall_s)
    return Run(load or Load(name="c16", concurrency=16), (Block((answer,) * REQUESTS, wall_s),))


def a_roofline(model: Path, has_drafts: bool = True, rates: Machine = RATES) -> Roofline:
    found = needs(model, "text")
    assert found is not None
    return Roofline(found, rates, has_drafts)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return a_model(tmp_path)


@pytest.fixture
def fast(model: Path, tiny: Target) -> Roofline:
    """The tiny model on this machine."""
    found = roofline(tiny, model)
    assert found is not None
    return found


def test_a_plausible_run_is_believed_and_one_beyond_the_machine_is_not(fast: Roofline, tiny: Target) -> None:
    assert believed(a_run(10.0), tiny, fast).result == "pass"
    beyond = believed(a_run(1e-9, first_s=0.5e-9), tiny, fast)
    assert (beyond.result, beyond.name, beyond.threshold) == ("inconclusive", "physics.ceiling", LEEWAY["cpu"])
    assert beyond.statistic is not None
    assert beyond.statistic > LEEWAY["cpu"]


def test_before_a_run_is_doubted_the_machine_is_measured_again(fast: Roofline, tiny: Target) -> None:
    slow = replace(fast, rates=Machine(1.0, 1.0))
    assert max(slow.shares(a_run(10.0)))[0] > LEEWAY["cpu"]
    assert believed(a_run(10.0), tiny, slow).result == "pass"


def test_of_an_unknown_model_nothing_is_said(tiny: Target) -> None:
    assert believed(a_run(1e-9), tiny, None).result == "skip"


def test_each_sample_is_held_against_its_own_work(model: Path) -> None:
    found = a_roofline(model)
    work = Cost(0, 2 * 864, 2 * 800)
    whole, first = work.operations(PROMPT, TOKENS) / 1e9, work.operations(PROMPT, 1) / 1e9
    assert {what: share for share, what in found.shares(a_run(2.0))} == {
        "a block": pytest.approx(REQUESTS * whole / 2.0),
        "an answer": pytest.approx(whole / 2.0),
        "a first token": pytest.approx(first / 0.5),
    }


def test_reading_counts_where_drafts_are_forbidden_and_no_cache_holds_the_weights(model: Path) -> None:
    load = Load(name="c1", concurrency=1)
    slow = Machine(bytes_per_s=1.0, operations_per_s=1e15)
    assert max(a_roofline(model, False, slow).shares(a_run(2.0, load=load)))[0] < 1, "a cache may hold these"
    large = a_roofline(model, False, slow)
    large = replace(large, needs=replace(large.needs, weight_bytes=LARGEST_BUFFER))
    assert max(large.shares(a_run(2.0, load=load)))[0] > 1
    assert max(replace(large, has_drafts=True).shares(a_run(2.0, load=load)))[0] < 1


def test_a_prefix_that_may_be_known_costs_no_first_token(model: Path) -> None:
    told = [what for _, what in a_roofline(model).shares(a_run(2.0, kind="shared prefix"))]
    assert "a first token" not in told


def test_bounds_follow_from_what_was_asked(model: Path) -> None:
    found, run = a_roofline(model), a_run(2.0, load=Load(name="c2", concurrency=2))
    step, whole = 2 * 864 / 1e9, Cost(0, 2 * 864, 2 * 800).operations(PROMPT, TOKENS) / 1e9
    bounds = {
        "output_throughput": TOKENS / max(whole, TOKENS * step / 2), "goodput": 1 / max(whole, TOKENS * step / 2),
        "request_throughput": 1 / max(whole, TOKENS * step / 2), "e2e_latency_p50": 1e3 * max(whole, TOKENS * step),
        "tpot_p50": 1e3 * step, "output_throughput_p50": TOKENS / max(whole, TOKENS * step),
    }  # fmt: skip
    for metric, value in bounds.items():
        bound = found.bound(metric, run)
        assert bound is not None, metric
        assert bound.value == pytest.approx(value), metric
    assert all(found.bound(metric, run) is None for metric in ("queueing_p50", "itl_p50", "slo_attainment"))
    poisson = a_run(2.0, load=Load(name="poisson", arrival="poisson"))
    assert found.bound("output_throughput", poisson) is None
    assert found.bound("ttft_p99", poisson) is not None


def test_a_target_that_allows_quantization_has_a_higher_bound(model: Path, tiny: Target) -> None:
    rules = tiny.rules.model_copy(update={"quantization": True})
    allowed = roofline(tiny.model_copy(update={"rules": rules}), model)
    assert allowed is not None
    assert allowed.rates.operations_per_s == pytest.approx(
        QUANTIZED * machine("cpu", allowed.needs.weight_bytes).operations_per_s
    )
