"""ttft, tpot, itl, e2e_latency and the two rates, as the field defines them, in milliseconds and per second."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.loads import Slo
from pytest_vibeserve.metrics import Block, latencies, measure, percentile
from pytest_vibeserve.workload import Request

gaps = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=30)


def streamed(*events: tuple[float, int], sent: float = 0.0, scheduled: float = 0.0, done: float = 10.0) -> Answer:
    """An answer whose events came at these times with these numbers of tokens."""
    ids = tuple(range(sum(tokens for _, tokens in events)))
    return Answer(
        Request(id=0, prompt_ids=(0,), max_tokens=len(ids)), 200, "", (Choice(0, ids, "", "length"),),
        tuple(Event(at, 0, tokens, "") for at, tokens in events), None, None, None, scheduled, sent, done,
    )  # fmt: skip


def of(name: str, *answers: Answer, wall_s: float = 1.0, open_loop: bool = False) -> float:
    return measure(name, Block(answers, wall_s, open_loop))


def test_the_first_token_is_the_first_event_that_carries_one() -> None:
    assert of("ttft_p50", streamed((0.1, 0), (0.3, 1), (0.4, 1))) == pytest.approx(300)


def test_latency_counts_from_dispatch_in_a_closed_loop_and_from_the_schedule_in_an_open_one() -> None:
    late = streamed((1.0, 1), sent=0.75, scheduled=0.25, done=1.25)
    assert of("ttft_p50", late) == pytest.approx(250)
    assert of("ttft_p50", late, open_loop=True) == pytest.approx(750)
    assert of("e2e_latency_p50", late, open_loop=True) == pytest.approx(1000)


def test_time_per_output_token_leaves_the_first_token_out() -> None:
    assert of("tpot_p50", streamed((1.0, 1), (1.2, 1), (1.4, 1))) == pytest.approx(200)


def test_one_token_has_no_time_per_output_token() -> None:
    assert math.isnan(of("tpot_p50", streamed((1.0, 1))))


@given(gaps)
def test_gaps_between_single_tokens_are_inter_token_latencies(between: list[float]) -> None:
    times = [sum(between[:count]) for count in range(len(between) + 1)]
    found = list(latencies("itl", Block((streamed(*((at, 1) for at in times)),), 1.0)))
    assert found == pytest.approx(between)


def test_a_stall_shows_however_many_tokens_end_it() -> None:
    stalled = streamed((1.0, 1), (1.1, 1), (1.5, 4))
    assert list(latencies("itl", Block((stalled,), 1.0))) == pytest.approx([0.1, 0.4])
    assert of("tpot_p50", stalled) == pytest.approx(100)
    kept = Slo.model_validate({"itl": "200 ms"})
    assert measure("slo_attainment", Block((stalled,), 1.0, slo=kept)) == 0.0


def test_events_of_one_packet_have_no_gap_between_them_and_the_stall_before_them_stays_whole() -> None:
    together = streamed((1.0, 1), (1.4, 1), (1.4, 1), (1.4, 2))
    assert list(latencies("itl", Block((together,), 1.0))) == pytest.approx([0.4, 0, 0])
    kept = Slo.model_validate({"itl": "200 ms"})
    assert measure("slo_attainment", Block((together,), 1.0, slo=kept)) == 0.0


@given(gaps)
def test_inter_token_latencies_add_up_to_the_time_from_first_to_last_token(between: list[float]) -> None:
    times = [sum(between[:count]) for count in range(len(between) + 1)]
    answer = streamed(*((at, 1 + number % 3) for number, at in enumerate(times)))
    assert sum(latencies("itl", Block((answer,), 1.0))) == pytest.approx(times[-1])


def test_throughput_counts_tokens_and_answers_per_second_of_the_block() -> None:
    answers = (streamed((0.1, 3)), streamed((0.1, 5)))
    assert of("output_throughput", *answers, wall_s=2.0) == 4.0
    assert of("request_throughput", *answers, wall_s=2.0) == 1.0


def test_a_percentile_is_taken_over_the_requests() -> None:
    answers = [streamed((at / 10, 1)) for at in range(1, 102)]
    assert of("ttft_p50", *answers) == pytest.approx(5100)
    assert of("ttft_p99", *answers) == pytest.approx(10000)


def test_nothing_streamed_is_no_number_rather_than_a_good_one() -> None:
    assert math.isnan(of("ttft_p50"))


@pytest.mark.parametrize("name", ["ttft", "ttft_p100", "throughput", "p50_ttft", "ttft_p50x", ""])
def test_an_unknown_metric_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match=f"no metric is called '{name}'"):
        of(name, streamed((0.1, 1)))


def failed(sent: float = 0.0, tokens: int = 4, **fields: bool) -> Answer:
    """A request of so many tokens that was issued and got no whole answer."""
    asked = Request(id=0, prompt_ids=(0,), max_tokens=tokens, **fields)
    blank = streamed(sent=sent, done=sent + 1)
    return replace(blank, request=asked, fault="connection closed within the answer", choices=())


SLO = Slo.model_validate({"ttft": "200 ms", "itl": "100 ms", "e2e_latency": "1 s"})


def test_goodput_counts_whole_answers_that_kept_every_latency_over_all_that_were_issued() -> None:
    good = streamed((0.1, 1), (0.2, 1), done=0.9)
    late, stalled, slow = (
        streamed((0.3, 1), done=0.9),
        streamed((0.1, 1), (0.25, 1), done=0.9),
        streamed((0.1, 1), done=1.5),
    )
    block = Block((good, late, stalled, slow, failed(), good), 2.0, slo=SLO)
    assert measure("goodput", block) == 1.0
    assert measure("slo_attainment", block) == pytest.approx(2 / 6)


def test_in_an_open_loop_goodput_counts_the_wait_to_be_sent() -> None:
    waited = streamed((0.5, 1), sent=0.4, scheduled=0.0, done=0.6)
    assert measure("slo_attainment", Block((waited,), 1.0, slo=SLO)) == 1.0
    assert measure("slo_attainment", Block((waited,), 1.0, open_loop=True, slo=SLO)) == 0.0
    assert of("queueing_p50", waited) == pytest.approx(400)


def test_a_failed_request_counts_in_no_rate_and_took_for_ever() -> None:
    answers = [streamed((0.1, 1)), streamed((0.1, 1)), streamed((0.1, 1)), failed()]
    assert of("request_throughput", *answers) == 3.0
    assert of("output_throughput", *answers) == 3.0
    assert of("ttft_p50", *answers) == pytest.approx(100)
    assert math.isinf(of("ttft_p99", *answers))
    assert math.isinf(of("e2e_latency_p50", failed(), failed()))


@pytest.mark.parametrize("name", ["ttft", "tpot", "itl", "e2e_latency", "queueing"])
def test_a_failed_request_is_infinite_in_every_latency_that_it_should_have_had(name: str) -> None:
    answers = [streamed((0.1, 1), (0.2, 1), (0.3, 1), (0.4, 1)) for _ in range(20)]
    assert math.isfinite(of(f"{name}_p99", *answers))
    assert math.isinf(of(f"{name}_p99", *answers, failed()))


def test_a_failed_request_owes_the_gaps_of_the_tokens_that_it_was_to_have() -> None:
    def owed(name: str, answer: Answer) -> list[float]:
        return list(latencies(name, Block((answer,), 1.0)))

    assert owed("itl", failed(tokens=5)) == [math.inf] * 4
    assert owed("itl", failed(tokens=5, ignore_eos=False)) == [math.inf]
    assert owed("itl", failed(tokens=1)) == owed("tpot", failed(tokens=1)) == []
    assert owed("tpot", failed(stream=False)) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], percent: float) -> None:
    assert percentile(sorted(values), percent) == pytest.approx(float(np.percentile(values, percent)), abs=1e-9)


def test_percentiles_may_have_decimals() -> None:
    answers = [streamed((at / 10, 1)) for at in range(1, 1002)]
    assert of("ttft_p99.9", *answers) == pytest.approx(100_000)


def test_the_median_request_has_a_throughput_of_its_own() -> None:
    quick, slow = streamed((0.1, 4), done=0.5), streamed((0.1, 4), sent=1.0, done=5.0)
    assert of("output_throughput_p50", quick, slow, slow) == pytest.approx(1.0)
    assert of("output_throughput_p50", quick) == pytest.approx(8.0)
    assert of("output_throughput_p50", replace(quick, fault="gone"), replace(slow, fault="gone"), quick) == 0
    assert of("output_throughput_p50", replace(quick, scheduled_s=-0.5), open_loop=True) == pytest.approx(4.0)
