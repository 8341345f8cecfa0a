"""What other programs read of a report, in their own formats, and a job's page that belongs to others too."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from test_report import a_measurement, a_report

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.exports import bencher, direction_file, github_benchmark, write_exports
from pytest_vibeserve.report import Comparison, Gain, Report
from pytest_vibeserve.settings import Settings
from pytest_vibeserve.target import Target

TTFT = a_measurement(metric="ttft_p50", value=20.0, low=18.0, high=23.0, unit="ms", direction="min", headline=False)
OPEN = a_measurement(metric="ttft_p99", value=90.0, low=-math.inf, high=math.inf, unit="ms", direction="min")
NOTHING = a_measurement(metric="tpot_p50", value=math.nan, low=math.nan, high=math.nan, unit="ms", direction="min")


def a_gain(metric: str, load: str, gain: float, low: float, high: float) -> Gain:
    return Gain(metric=metric, load=load, gain=gain, low=low, high=high, conclusion="no difference shown")


AGAINST = Comparison(
    baseline="vllm", baseline_tree="b", metric="output_throughput", load="c16", gain=1.5, low=1.4, high=1.6, pairs=6,
    conclusion="better", baseline_value=100, candidate_value=150, unit="tok/s",
    objectives=(
        a_gain("output_throughput", "c16", 1.5, 1.4, 1.6), a_gain("ttft_p50", "", 1.1, 0.0, math.inf),
        a_gain("tpot_p50", "c1", 0.9, 0.8, 1.0), a_gain("ttft_p99", "c1", math.inf, 0.0, math.inf),
    ),
)  # fmt: skip


@pytest.fixture
def report() -> Report:
    return a_report(measurements=(a_measurement(), TTFT, OPEN, NOTHING), comparison=AGAINST)


def settings(target: Target, folder: Path, **changes: object) -> Settings:
    plain: dict[str, object] = {
        "target": target, "candidate": folder, "url": "", "baseline": None, "depth": "quick",
        "report": folder / "report.json", "markdown": None, "server_log": None, "nonce": "",
    }  # fmt: skip
    return Settings(**{**plain, **changes})  # type: ignore[arg-type]


def test_bencher_gets_a_value_and_its_limits_for_each_metric_of_a_load(report: Report) -> None:
    found = json.loads(bencher(report))
    measures = found["tiny_llama-tiny/c16"]
    assert measures["output_throughput"] == {"value": 100, "lower_value": 90, "upper_value": 110}
    assert measures["ttft_p99"] == {"value": 90}
    assert "tpot_p50" not in measures
    against = found["tiny_llama-tiny/c16 against vllm"]["output_throughput_gain"]
    assert against == {"value": 1.5, "lower_value": 1.4, "upper_value": 1.6}
    assert found["tiny_llama-tiny/c16 against vllm"]["ttft_p50_gain"] == {"value": 1.1, "lower_value": 0.0}
    assert found["tiny_llama-tiny/c1 against vllm"] == {
        "tpot_p50_gain": {"value": 0.9, "lower_value": 0.8, "upper_value": 1.0}
    }


def test_github_gets_one_list_for_each_direction_with_the_larger_half_as_range(report: Report) -> None:
    bigger, *gains = json.loads(github_benchmark(report, "bigger"))
    assert [(one["name"], one["value"], one["unit"], one.get("range")) for one in gains] == [
        ("tiny_llama-tiny/c16 against vllm/output_throughput_gain", 1.5, "x", "± 0.1"),
        ("tiny_llama-tiny/c16 against vllm/ttft_p50_gain", 1.1, "x", None),
        ("tiny_llama-tiny/c1 against vllm/tpot_p50_gain", 0.9, "x", "± 0.1"),
    ]
    assert (bigger["name"], bigger["value"], bigger["unit"]) == ("tiny_llama-tiny/c16/output_throughput", 100, "tok/s")
    assert bigger["range"] == "± 10"
    smaller = json.loads(github_benchmark(report, "smaller"))
    assert [(entry["value"], entry.get("range")) for entry in smaller] == [(20, "± 3"), (90, None)]


def test_every_file_that_was_asked_for_is_written(report: Report, tiny: Target, tmp_path: Path) -> None:
    asked = settings(tiny, tmp_path, bencher=tmp_path / "bencher.json", github_benchmark=tmp_path / "bench.json")
    write_exports(report, asked)
    assert json.loads((tmp_path / "bencher.json").read_text())
    assert [direction_file(tmp_path / "bench.json", way).exists() for way in ("bigger", "smaller")] == [True, True]
    assert not list(tmp_path.glob("*.md"))


def test_a_jobs_page_keeps_what_others_wrote(report: Report, tiny: Target, tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    page.write_text("# What an earlier step said\n")
    write_exports(report, settings(tiny, tmp_path, markdown=page, markdown_is_shared=True))
    write_exports(report, settings(tiny, tmp_path, markdown=page, markdown_is_shared=True))
    text = page.read_text()
    assert text.startswith("# What an earlier step said\n")
    assert text.count("## ACCEPTED") == 2


def test_a_file_of_ones_own_is_replaced(report: Report, tiny: Target, tmp_path: Path) -> None:
    page = tmp_path / "own.md"
    for _ in range(2):
        write_exports(report, settings(tiny, tmp_path, markdown=page))
    assert page.read_text().count("## ACCEPTED") == 1


def test_a_page_that_cannot_be_written_is_the_machines_fault(report: Report, tiny: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot write"):
        write_exports(report, settings(tiny, tmp_path, markdown=tmp_path / "file" / "page.md", markdown_is_shared=True))
