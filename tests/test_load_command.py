"""The load client as a command, against a real server with known delays."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers.stub import running, running_stub

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_stub() as (_, port):
        yield f"http://127.0.0.1:{port}"


def called(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_vibeserve.load_command", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def told(*words: str) -> list[dict[str, Any]]:
    done = called(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_level_is_one_line_with_what_the_field_measures(url: str) -> None:
    one, four, open_loop = told(
        url, "--concurrency", "1,4", "--rate", "40", "--requests", "8", "--tokens", "5", "--slo", "ttft=10 s"
    )
    assert (one["concurrency"], four["concurrency"], open_loop["rate"]) == (1, 4, 40.0)
    for level in (one, four, open_loop):
        assert (level["issued"], level["failed"], level["slo_attainment"]) == (8, 0, 1.0)
        assert level["output_throughput"] == pytest.approx(5 * level["request_throughput"])
        assert {"p50", "p90", "p95", "p99", "mean"} <= level["itl"].keys()
        assert level["ttft"]["p50"] >= 20
        assert level["goodput"] == level["request_throughput"]


def test_what_fails_is_counted_and_said(url: str) -> None:
    (level,) = told("http://127.0.0.1:1", "--concurrency", "2", "--requests", "3", "--slo", "ttft=10 s")
    assert (level["issued"], level["failed"], level["goodput"]) == (3, 3, 0.0)
    assert level["first_failure"].startswith("connection failed")


FAULTY = (sys.executable, str(ROOT / "tests" / "faulty_stream.py"))
WAYS = {
    "cut": "connection closed within the answer",
    "cut-within-an-event": "connection closed within the answer",
    "silent": "no answer within 0.7 s",
    "slow-head": "no answer within 0.7 s",
    "error-body": "the stream ended without data: [DONE]",
    "error-event": "an error event: oom",
    "no-token": "the stream ended without a token",
    "no-end-mark": "the stream ended without data: [DONE]",
    "two-end-marks": "an event after data: [DONE]",
    "more-after-the-end": "an event after data: [DONE]",
    "junk-chunk": "malformed answer: not a chunk size",
    "half-a-letter": "not a stream of completions",
    "deep": "not a stream of completions",
    "no-object": "an event is no object",
}
HARMLESS = ("split-letters", "closes")


def level_of(ways: Sequence[str], timeout: str) -> dict[str, Any]:
    """What one client says of a server of which every second answer goes these ways in turn."""
    with running((*FAULTY, *ways)) as (_, port):
        words = ("--concurrency", "1", "--requests", str(2 * len(ways)), "--slo", "ttft=20 s", "--timeout", timeout)
        (level,) = told(f"http://127.0.0.1:{port}", *words)
    return level


def test_every_answer_that_goes_wrong_is_a_counted_failure_in_goodput() -> None:
    level = level_of((*HARMLESS, *WAYS), "700 ms")
    issued = 2 * (len(WAYS) + len(HARMLESS))
    assert (level["issued"], level["failed"]) == (issued, len(WAYS))
    assert level["slo_attainment"] == pytest.approx(1 - len(WAYS) / issued)
    assert level["goodput"] == pytest.approx((issued - len(WAYS)) / level["wall_s"])
    assert level["ttft"]["p99"] is None, "what failed took for ever"


@pytest.mark.slow
@pytest.mark.parametrize(("way", "why"), WAYS.items(), ids=WAYS.keys())
def test_the_first_failure_is_told_in_words(way: str, why: str) -> None:
    level = level_of((way,), "700 ms")
    assert level["failed"] == 1
    assert why in level["first_failure"]


def test_no_prompt_is_asked_twice_and_a_seed_asks_the_same_again() -> None:
    def prompts(seed: str) -> list[str]:
        with running_stub() as (_, port):
            told(f"http://127.0.0.1:{port}", "--concurrency", "2,2", "--rate", "50", "--requests", "4", "--seed", seed)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/log", timeout=30) as seen:
                return sorted(json.loads(body)["prompt"] for body in json.loads(seen.read())["bodies"])

    first = prompts("7")
    assert len(set(first)) == len(first) == 12
    assert prompts("7") == first != prompts("8")


@pytest.mark.slow
def test_an_event_of_many_megabytes_costs_no_more_than_its_length() -> None:
    assert level_of(("huge-line",), "20 s")["failed"] == 0


def test_several_processes_search_the_highest_rate_within_a_bound(url: str) -> None:
    (found,) = told(
        url,
        "--find-rate",
        "5",
        "10",
        "--bound",
        "ttft_p50=10 s",
        "--requests",
        "4",
        "--tokens",
        "2",
        "--processes",
        "2",
    )
    assert found["highest_rate"] == 10.0
    assert [probe["held"] for probe in found["probes"]] == [True, True]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no load is asked for: give --concurrency, --rate or --find-rate"),
        (("--rate", "-5"), "--rate takes numbers above 0, not '-5'"),
        (("--concurrency", "many"), "--concurrency takes numbers with commas between, not 'many'"),
        (("--slo", "ttft=200"), "--slo 'ttft=200' should be a number with its unit"),
        (("--slo", "fast=2 s"), "--slo knows ttft, tpot, itl, e2e_latency, not 'fast'"),
        (("--rate", "5", "--arrival", "bursts"), "no arrival process is called 'bursts'"),
        (("--processes", "0", "--rate", "5"), "at least 1 process"),
        (("--find-rate", "5", "x"), "not a valid float"),
        (("--find-rate", "5", "9", "--bound", "goodput=1 s"), "should name a latency at a percentile"),
        (("--concurrency", "1.5"), "--concurrency takes whole numbers, not 1.5"),
        (("--requests", "0", "--rate", "5"), "0 is not in the range x>=1"),
        (("--tokens", "-3", "--rate", "5"), "-3 is not in the range x>=1"),
        (("--timeout", "60", "--rate", "5"), "--timeout '60' should be a number with its unit"),
        (("--timeout", "0 s", "--rate", "5"), "--timeout '0 s' should be longer than nothing"),
        (("--burstiness", "0", "--arrival", "gamma", "--rate", "5"), "burstiness of arrivals must be above 0, not 0"),
    ],
)
def test_a_wrong_option_is_one_line_and_a_usage_error(url: str, words: tuple[str, ...], message: str) -> None:
    done = called(url, *words)
    assert done.returncode == 4
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "given", ["localhost:80", "https://localhost", "http://[::1", "http://localhost:99999", "file:///x"]
)
def test_what_is_no_url_says_so(given: str) -> None:
    done = called(given, "--rate", "1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "is no URL" in done.stderr
