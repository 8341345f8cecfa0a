"""A bound holds against the whole interval, and no sample counts that the machine cannot have made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gates import Gates
from starter_edits import edited
from test_report import a_measurement

from pytest_vibeserve.errors import ExitCode
from pytest_vibeserve.evaluator import bound_check
from pytest_vibeserve.target import Objective

TARGETS = Path(__file__).resolve().parents[1] / "targets"
PAINTS, SHARES = TARGETS / "show_o2_h100", TARGETS / "olmo_hybrid_prefix_cache"


@pytest.mark.parametrize(
    ("direction", "low", "high", "result"),
    [
        ("max", 101, 120, "pass"),
        ("max", 90, 99, "fail"),
        ("max", 90, 110, "inconclusive"),
        ("min", 90, 99, "pass"),
        ("min", 101, 120, "fail"),
        ("min", 90, 110, "inconclusive"),
        ("min", float("nan"), float("nan"), "inconclusive"),
        ("max", 0, 0, "fail"),
    ],
)
def test_a_bound_is_kept_or_broken_by_the_whole_interval(direction: str, low: float, high: float, result: str) -> None:
    objective = Objective.model_validate(
        {"metric": "output_throughput", "load": "c16", "direction": direction, "unit": "tok/s", "bound": 100}
    )
    check = bound_check(objective, a_measurement(value=(low + high) / 2, low=low, high=high))
    assert (check.result, check.threshold) == (result, 100)
    assert check.name == "bound.output_throughput@c16"


def test_a_sample_beyond_the_machine_is_not_believed_and_nothing_of_it_counts(gates: Gates, tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(PAINTS, lab, ignore=shutil.ignore_patterns("__pycache__"))
    table = (lab / "target.toml").read_text(encoding="utf-8")
    (lab / "target.toml").write_text(table.replace("steps = [4, 5]", "steps = [400, 400]"), encoding="utf-8")
    first = "        latent = torch.from_numpy(noise).float()[None].to(self.vae.mean.device)\n"
    blank = "        return np.zeros((4 * noise.shape[1], 4 * noise.shape[2], 3), np.float32)\n"
    edited(PAINTS / "starter", tmp_path / "blank", ("painter.py", first, blank + first))
    ended = gates.run(tmp_path / "blank", f"{lab}/test_performance.py", "-k", "c1", target=str(lab))
    assert ended.code == ExitCode.INCONCLUSIVE, ended.output
    assert "physics.ceiling: c1: " in ended.report.verdict.reason
    assert not ended.report.measurements


def test_answers_are_not_sent_when_they_are_finished_as_if_they_were_just_made(gates: Gates, tmp_path: Path) -> None:
    loop, write = "        while not answer.complete:\n", "                await response.write(frame)\n"
    edited(
        SHARES / "starter", tmp_path / "held",
        ("server.py", loop, "        frames = []\n" + loop),
        ("server.py", write, "                frames.append(frame)\n"),
        ("server.py", "        await response.write(answer.closing())\n", """        for frame in frames:
            await response.write(frame)
            await asyncio.sleep(0.0002)
        await response.write(answer.closing())
"""),
    )  # fmt: skip
    ended = gates.run(
        tmp_path / "held", f"{SHARES}/test_performance.py", "-k", "c20", target="olmo_hybrid_prefix_cache"
    )
    assert ended.code == ExitCode.REJECTED, ended.output
    failed = {check.name for check in ended.report.verdict.checks if check.result == "fail"}
    assert "stream.pace" in failed, ended.report.verdict.reason
