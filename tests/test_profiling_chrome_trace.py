"""Chrome traces: operators, the steps in them, kernels with the operands of the product that launched them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_vibeserve.profiling.chrome_trace import read_trace

CLOCK = 1000.0
BASE = 5_000_000_000_000


def event(name: str, at: float, long: float, *shapes: list[int], **more: Any) -> dict[str, Any]:
    args = {"Input Dims": list(shapes), "External id": more.pop("link", 0)}
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": at, "dur": long, "tid": 7, "args": args} | more


def written(folder: Path, *events: dict[str, Any]) -> Path:
    path = folder / "trace.json"
    path.write_text(json.dumps({"baseTimeNanoseconds": BASE, "traceEvents": [*events, {"ph": "M", "name": "meta"}]}))
    return path


def a_step(at: float, indices: list[int]) -> list[dict[str, Any]]:
    """100 us: a look-up, then a product of 40 us that holds another operator of 30 us."""
    return [
        event("aten::embedding", at, 10, [512, 64], indices),
        event("aten::linear", at + 60, 40, [indices[-1], 64], [128, 64]),
        event("aten::addmm", at + 65, 30, [128], [indices[-1], 64], [64, 128]),
    ]


def test_times_are_of_the_monotonic_clock(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, event("aten::add", 2_000_000, 500_000)), CLOCK, 16)
    assert found.window == pytest.approx((BASE * 1e-9 - CLOCK + 2, BASE * 1e-9 - CLOCK + 2.5))


def test_what_a_profiler_delays_at_its_ends_is_outside_the_window(tmp_path: Path) -> None:
    usual = [event("aten::add", 1000 * number, 900) for number in range(1, 399)]
    found = read_trace(written(tmp_path, event("aten::add", -9e5, 2), *usual, event("aten::add", 9e5, 2)), CLOCK, 16)
    assert found.window[1] - found.window[0] == pytest.approx(0.395, abs=0.005)


def test_an_operator_that_the_profilers_end_cut_off_does_not_count(tmp_path: Path) -> None:
    cut = event("aten::mm", 10, 9e6, [1, 4], [4, 4])
    cut["args"]["finished"] = False
    found = read_trace(written(tmp_path, event("aten::add", 0, 5), cut), CLOCK, 16)
    assert [one.name for one in found.operators] == ["aten::add"]


def test_a_step_goes_from_a_look_up_to_the_last_product_before_the_next(tmp_path: Path) -> None:
    events = [*a_step(0, [1, 23]), event("aten::argmax", 120, 20, [1, 512]), *a_step(200, [1, 1]), *a_step(400, [1, 1])]
    found = read_trace(written(tmp_path, *events, event("aten::embedding", 600, 10, [512, 64], [1, 1])), CLOCK, 16)
    assert [(step.name, step.rows) for step in found.steps] == [("prefill", 23), ("decode", 1), ("decode", 1)]
    assert [round(step.seconds * 1e6) for step in found.steps] == [100, 100, 100]


@pytest.mark.parametrize(
    ("indices", "phase"), [([16], "decode"), ([17], "prefill"), ([4, 1], "decode"), ([4, 9], "prefill")]
)
def test_more_tokens_than_streams_are_prefill(tmp_path: Path, indices: list[int], phase: str) -> None:
    events = [*a_step(0, indices), event("aten::embedding", 600, 10, [512, 64], [1, 1])]
    assert [step.name for step in read_trace(written(tmp_path, *events), CLOCK, 16).steps] == [phase]


def test_a_product_counts_as_a_whole_and_any_other_operator_when_it_calls_none(tmp_path: Path) -> None:
    others = [event("aten::softmax", 200, 20), event("aten::_softmax", 205, 10), event("aten::add", 208, 2)]
    leaves = read_trace(written(tmp_path, *a_step(0, [3]), *others), CLOCK, 16).operators
    assert [leaf.name for leaf in leaves] == ["aten::embedding", "aten::linear", "aten::add"]
    assert leaves[1].shapes == ((3, 64), (128, 64))


def test_a_kernel_knows_the_operands_of_the_product_that_launched_it(tmp_path: Path) -> None:
    kernel = event("gemm", 70, 5, cat="kernel", tid=99, link=41)
    found = read_trace(written(tmp_path, event("aten::mm", 0, 9, [3, 64], [64, 128], link=41), kernel), CLOCK, 16)
    assert [(one.name, one.shapes) for one in found.kernels] == [("gemm", ((3, 64), (64, 128)))]


@pytest.mark.parametrize("text", ["[1, 2]", "{}", '{"traceEvents": 3}', "{broken"])
def test_what_is_no_trace_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r".+"):
        read_trace(path, CLOCK, 16)
