"""Limits come from the model: kept once measured, wider where the target allows eight bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Bound

from pytest_vibeserve.judge import ContractBroken, Judge
from pytest_vibeserve.judge.calibration import calibrate
from pytest_vibeserve.reference import Reference, model_folder
from pytest_vibeserve.variants import QUANTISERS, Variant
from pytest_vibeserve.workload import Vocabulary


def test_honest_lies_below_the_limit_and_everything_forbidden_above(
    reference: Reference, vocabulary: Vocabulary
) -> None:
    found = calibrate(reference, vocabulary, quantization=False)
    forbidden = [*QUANTISERS, "layer 1 left out", "rotary base halved", "generated positions off by one"]
    assert all(found.ratios[name] > found.bounds.limit for name in forbidden)
    assert all(ratio < found.bounds.limit for name, ratio in found.ratios.items() if name not in forbidden)
    assert found.unseparated == ()


def test_a_calibration_is_measured_once_and_kept(
    reference: Reference, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIBESERVE_CACHE", str(tmp_path))
    first = calibrate(reference, vocabulary, quantization=False)
    kept = list((tmp_path / "calibration").iterdir())
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    assert calibrate(reference, vocabulary, quantization=False) == first
    assert kept[0].stat().st_mtime_ns == stamp
    kept[0].write_text("{}")
    assert calibrate(reference, vocabulary, quantization=False).ratios.keys() == first.ratios.keys()


def test_where_eight_bits_are_allowed_they_pass_and_a_layer_may_not_be_left_out(bound: Callable[[int], Bound]) -> None:
    engine = bound(30).engine
    rules = engine.target.rules.model_copy(update={"quantization": True})
    engine.target = engine.target.model_copy(update={"rules": rules})
    judge = Judge(engine, model_folder(engine.target))
    engine.faults.variant = lambda body: Variant("eight bits", "bfloat16", weights="int8 per channel")
    judge.audit()
    engine.faults.variant = lambda body: Variant("short cut", "bfloat16", skipped=1)
    with pytest.raises(ContractBroken, match=r"audit\.request"):
        judge.audit()
