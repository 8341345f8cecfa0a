"""The load client as a command, against a real server with known delays."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from load_calls import ROOT, called, told
from servers.stub import running, running_stub


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_stub() as (_, port):
        yield f"http://127.0.0.1:{port}"


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
    for latency in ("ttft", "tpot", "itl", "e2e_latency", "queueing"):
        assert (level[latency]["p99"], level[latency]["mean"]) == ("Infinity", "Infinity"), "what failed took for ever"


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
        "--probe-seconds",
        "1 s",
        "--processes",
        "2",
    )
    assert (found["highest_rate"], found["lowest_failed"]) == (10.0, None)
    assert [(probe["held"], probe["issued"]) for probe in found["probes"]] == [(True, 5), (True, 10)]


def test_a_server_that_falls_behind_a_rate_does_not_sustain_it() -> None:
    with running_stub("--capacity", "40", "--itl", "0") as (_, port):
        words = ("--find-rate", "100", "100", "--bound", "ttft_p99=30 s", "--probe-seconds", "1 s", "--tokens", "1")
        done = called(f"http://127.0.0.1:{port}", *words)
    (found,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (found["highest_rate"], found["lowest_failed"]) == (0.0, 100.0)
    for probe in found["probes"]:
        assert probe["issued"] == 100
        assert probe["failed"] == 0
        assert probe["kept_up"] < 0.8
        assert not probe["held"]
    assert "each probe lasts 1 s (--probe-seconds)" in done.stderr


@pytest.mark.slow
def test_the_search_ends_near_what_the_server_can_do() -> None:
    with running_stub("--capacity", "60", "--itl", "0") as (_, port):
        words = ("--find-rate", "20", "200", "--bound", "ttft_p99=300 ms", "--probe-seconds", "4 s", "--tokens", "1")
        (found,) = told(f"http://127.0.0.1:{port}", *words)
    assert 25 <= found["highest_rate"] <= 75


def test_a_rate_at_which_requests_failed_is_not_sustained_whatever_is_bounded() -> None:
    with running((*FAULTY, "cut")) as (_, port):
        words = ("--find-rate", "8", "8", "--bound", "queueing_p50=30 s", "--probe-seconds", "1 s", "--requests", "4")
        (found,) = told(f"http://127.0.0.1:{port}", *words)
    assert found["highest_rate"] == 0.0
    assert [(probe["failed"], probe["held"]) for probe in found["probes"]] == [(4, False), (4, False)]


def test_what_there_is_nothing_of_reads_null(url: str) -> None:
    (level,) = told(url, "--concurrency", "1", "--requests", "2", "--tokens", "1")
    assert level["itl"] == {"p50": None, "p90": None, "p95": None, "p99": None, "mean": None}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be left to others")
def test_clients_can_be_kept_on_cores_of_their_own(url: str) -> None:
    (level,) = told(url, "--concurrency", "1", "--requests", "2", "--pin")
    assert level["failed"] == 0
    done = called(url, "--concurrency", "1", "--pin", "--processes", "4096")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "--pin keeps 4096 of" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no load is asked for: give --concurrency, --rate, --find-rate, --trace or --streams"),
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
        (
            ("--burstiness", "0", "--arrival", "gamma", "--rate", "5"),
            "burstiness of arrivals must be above 0 and finite",
        ),
        (("--burstiness", "inf", "--arrival", "gamma", "--rate", "5"), "must be above 0 and finite, not inf"),
        (("--burstiness", "nan", "--arrival", "gamma", "--rate", "5"), "must be above 0 and finite, not nan"),
        (("--burstiness", "2", "--rate", "5"), "--burstiness says nothing without --arrival gamma"),
        (("--arrival", "gamma", "--concurrency", "5"), "--arrival says nothing without --rate or --find-rate"),
        (("--concurrency", "1", "--find-rate", "5", "9"), "--find-rate says nothing without --bound"),
        (("--rate", "5", "--bound", "ttft_p99=1 s"), "--bound says nothing without --find-rate"),
        (("--find-rate", "9", "5", "--bound", "ttft_p99=1 s"), "needs 0 < LOW <= HIGH requests a second, not 9 5"),
        (("--rate", "5", "--probe-seconds", "1 s"), "--probe-seconds says nothing without --find-rate"),
        (("--rate", "5", "--speedup", "2"), "--speedup says nothing without --trace"),
        (("--concurrency", "5", "--most-in-flight", "2"), "says nothing without --rate or --find-rate or --trace"),
        (("--concurrency", "5", "--turns", "2", "3"), "turns follow one another as chats: add --chat"),
        (("--concurrency", "5", "--turns", "3", "2", "--chat"), "takes the least and the most, not 3 2"),
        (("--rate", "5", "--turns", "2", "3"), "--turns says nothing without --concurrency"),
        (("--rate", "5", "--think", "1 s"), "--think says nothing without --turns or --trace"),
        (("--trace", "nowhere.jsonl"), "there is no trace at nowhere.jsonl"),
        (("--trace", "tests"), "tests cannot be read"),
        (("--trace", "nowhere.jsonl", "--rate", "5"), "--trace cannot go with --rate: leave one of them out"),
        (("--rate", "5,6", "--save-trace", "x"), "--save-trace keeps one level"),
        (("--target", "tiny_llama", "--words", "3", "--rate", "5"), "--target cannot go with --words"),
        (("--streams", "3"), "--streams says nothing without --target"),
    ],
)
def test_a_wrong_option_is_one_line_and_a_usage_error(url: str, words: tuple[str, ...], message: str) -> None:
    done = called(url, *words)
    assert done.returncode == 4
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "given",
    ["localhost:80", "https://localhost", "http://[::1", "http://localhost:99999", "file:///x"],
)
def test_what_is_no_url_says_so(given: str) -> None:
    done = called(given, "--rate", "1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "is no URL" in done.stderr


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/completions", "leave the route out, the command adds it"),
        ("/api?key=1", "only what stands before /v1 may follow the port"),
        ("/a b", "leave the route out"),
    ],
)
def test_a_path_that_is_no_prefix_says_what_to_write(path: str, message: str) -> None:
    done = called(f"http://localhost:80{path}", "--rate", "1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert message in done.stderr
