"""The profiled pass in a gate as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from gates import Gates
from laboratory import laboratory
from starter_edits import edited

from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.insight import Gap, Hypothesis, Insight, Operator
from pytest_vibeserve.profiling.inside import LARGEST, _small

ROOT = Path(__file__).resolve().parents[1]
STARTER = ROOT / "targets" / "tiny_llama" / "starter"
SHY = """
import os

if "VIBESERVE_PROFILE" in os.environ:
    raise SystemExit("nobody looks at me")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laboratory(tmp_path_factory.mktemp("inside") / "lab")


def test_a_quick_gate_that_is_asked_looks_inside_after_it_has_measured(gates: Gates, lab: Path) -> None:
    ended = gates.run(STARTER, "--vibeserve-insight=yes", target=str(lab))
    assert ended.code == ExitCode.ACCEPTED, ended.output
    found = ended.report.insight
    assert found is not None
    assert len(found.model_dump_json().encode()) <= LARGEST
    assert "torch" in found.sources, found
    assert None not in (found.prefill, found.decode, found.host, found.idle, found.launch_bound)
    shares = [share or 0.0 for share in (found.prefill, found.decode, found.host, found.idle)]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert found.decode
    assert found.operators
    assert found.occupancy
    assert "step-overhead" in dict(found.gains)
    assert "insight    " in ended.output


@pytest.mark.slow
def test_a_candidate_that_will_not_be_looked_at_is_judged_all_the_same(gates: Gates, lab: Path, tmp_path: Path) -> None:
    shy = tmp_path / "shy"
    edited(STARTER, shy)
    (shy / "environment.py").write_text((shy / "environment.py").read_text() + SHY)
    ended = gates.run(shy, "--vibeserve-insight=yes", target=str(lab))
    assert ended.code == ExitCode.ACCEPTED, ended.output
    assert ended.report.insight is not None
    assert "nobody looks at me" in ended.report.insight.notes[0]
    assert ended.report.insight.hypotheses == ()


@pytest.mark.slow
def test_a_quick_gate_looks_inside_only_when_it_is_asked(gates: Gates, lab: Path) -> None:
    ended = gates.run(STARTER, str(lab / "test_performance.py"), target=str(lab))
    assert ended.report.measurements
    assert ended.report.insight is None


def test_an_insight_is_cut_until_it_is_small() -> None:
    long = Insight(
        load="c16", seconds=3.0, prefill=0.1, decode=0.5, host=0.2, idle=0.2,
        gaps=(Gap(cause="w" * 80, share=0.1, longest_ms=1),) * 3,
        operators=(Operator(name="o" * 36, share=0.1, calls_per_s=1, roofline=0.1),) * 5,
        functions=(("f" * 60, 0.1),) * 4, occupancy=(16.0,) * 8, gains=(("step-overhead", 1.5),) * 9,
        hypotheses=(Hypothesis(relieves="step-overhead", gain=1.5, text="t" * 150),) * 3, notes=("n" * 120,) * 3,
    )  # fmt: skip
    small = _small(long)
    assert len(small.model_dump_json().encode()) <= LARGEST < len(long.model_dump_json().encode())
    assert small.hypotheses
    assert (small.prefill, small.occupancy) == (long.prefill, long.occupancy)
