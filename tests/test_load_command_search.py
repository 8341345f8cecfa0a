"""How long a search probes, when a server keeps up, and how numbers that JSON has not are written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_command.answers import json_ready, keeps_up, read
from pytest_vibeserve.load_command.options import search
from pytest_vibeserve.load_command.saving import save
from pytest_vibeserve.load_command.sources import Asked
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.load_generator.driver import TURN_LOST
from pytest_vibeserve.traces import read_arrivals
from pytest_vibeserve.workload import Request


@pytest.mark.parametrize(
    ("bound", "stated", "probe_s"),
    [("200 ms", "", 10), ("2 s", "", 40), ("30 s", "", 60), ("200 ms", "3 s", 3), ("10 s", "2 min", 120)],
)
def test_a_probe_lasts_well_beyond_the_bound(bound: str, stated: str, probe_s: float) -> None:
    found = search((1.0, 200.0), f"ttft_p99={bound}", stated, 64)
    assert found.probe_s == probe_s
    assert found.count(200.0) == max(64, 200 * probe_s)
    assert found.count(0.1) == 64


def test_a_search_says_how_long_it_may_take() -> None:
    words = search((1.0, 200.0), "ttft_p99=200 ms", "", 64).words
    assert "each probe lasts 10 s (--probe-seconds)" in words
    assert words.endswith("at most 26 of them, 8 min")
    assert search((5.0, 5.0), "ttft_p99=200 ms", "", 64).words.endswith("at most 2 of them, 1 min")


def answered(scheduled_s: float, done_s: float) -> Answer:
    return Answer(Request(0, (), 1), 200, "", scheduled_s=scheduled_s, done_s=done_s)


def test_a_server_keeps_up_when_answers_come_as_fast_as_requests_leave() -> None:
    steady = [answered(at / 10, at / 10 + 5) for at in range(100)]
    behind = [answered(at / 10, at / 5 + 1) for at in range(100)]
    tail = [*steady[:-3], *(answered(at / 10, 60) for at in range(97, 100))]
    assert keeps_up(steady) == pytest.approx(1)
    assert keeps_up(behind) == pytest.approx(0.5)
    assert keeps_up(tail) == pytest.approx(1), "a few late answers are latency"
    assert keeps_up(steady[:1]) == 1


def test_the_infinite_is_written_in_words_and_nothing_as_null() -> None:
    told = json_ready({"p99": math.inf, "mean": [math.nan, 1.5], "failed": 0, "void": ""})
    assert json.loads(json.dumps(told)) == {"p99": "Infinity", "mean": [None, 1.5], "failed": 0, "void": ""}


def stream(payload: dict[str, object]) -> Reply:
    data = b"data: " + json.dumps(payload).encode() + b"\n\ndata: [DONE]\n\n"
    return Reply(3, 200, "", 0.0, 0.5, ((1.0, data),), 1.0, ())


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"text": " a", "token_ids": [4], "prompt_token_ids": [1, 2, 3]}]},
        {"choices": [{"text": " a"}], "prompt_token_ids": [1, 2, 3]},
        {"choices": [{"text": " a"}], "usage": {"prompt_tokens": 3}},
    ],
)
def test_a_saved_trace_has_the_servers_own_count_of_a_prompt(tmp_path: Path, payload: dict[str, object]) -> None:
    request = Request(3, (), 7)
    asked = Asked(Exchange(3, "POST", "/"), request, 50)
    lost = Answer(request, 0, TURN_LOST)
    failed = Answer(request, 500, "HTTP 500", sent_s=0.75)
    found = [read(request, stream(payload)), lost, failed]
    assert save(tmp_path / "trace.jsonl", [asked] * 3, found) == 2
    told = [(one.at_s, one.input_tokens, one.output_tokens) for one in read_arrivals(tmp_path / "trace.jsonl")]
    assert told == [(0.0, 3, 1), (0.25, 50, 7)]
