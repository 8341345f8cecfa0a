"""The load client as a command, against a real server with known delays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.stub import running_stub

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
        (("--rate", "-5"), "--rate takes numbers above 0, not '-5'"),
        (("--concurrency", "many"), "--concurrency takes numbers with commas between, not 'many'"),
        (("--slo", "ttft=200"), "--slo 'ttft=200' should be a number with its unit"),
        (("--slo", "fast=2 s"), "--slo knows ttft, tpot, itl, e2e_latency, not 'fast'"),
        (("--rate", "5", "--arrival", "bursts"), "no arrival process is called 'bursts'"),
        (("--processes", "0", "--rate", "5"), "at least 1 process"),
        (("--find-rate", "5", "x"), "not a valid float"),
    ],
)
def test_a_wrong_option_is_one_line_and_a_usage_error(url: str, words: tuple[str, ...], message: str) -> None:
    done = called(url, *words)
    assert done.returncode == 4
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_no_url_says_so() -> None:
    assert "is no URL" in called("localhost:80", "--rate", "1").stderr
