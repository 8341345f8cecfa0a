"""What the zoo's benchmark keeps and says; the judging itself is the gate's own and is tested with it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.judge_page import wilson
from benchmarks.zoo_runs import Case, Failed, Judged, read, wanted
from benchmarks.zoo_table import rows


def said(name: str, outcome: str, *checks: str, run: int = 0) -> Judged:
    failed = tuple(Failed(name=check, statistic=3.0, limit=2.0, unit="x", detail="") for check in checks)
    return Judged(
        name=name, run=run, depth="quick", parts="all", outcome=outcome, reason="", failed=failed, passed=9, wall_s=1.0
    )


def test_a_cheat_counts_as_caught_only_by_what_must_see_it() -> None:
    assert said("constant_text", "rejected", "audit.request").right
    assert not said("constant_text", "rejected", "service.alive").right
    assert not said("constant_text", "accepted").right
    assert said("honest_numpy", "accepted").right
    assert not said("honest_numpy", "inconclusive").right


def test_the_last_line_of_a_run_counts_and_what_is_there_is_not_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert read(path) == {}
    lines = [said("honest_numpy", "infrastructure"), said("honest_numpy", "accepted"), said("honest_slow", "accepted")]
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines))
    assert read(path)["honest_numpy", 0].outcome == "accepted"
    options = Namespace(
        kind="honest", names=["honest_numpy", "honest_sdpa"], out=path, runs=2, depth="auto", parts="all", again=False,
        profile="tiny",
    )  # fmt: skip
    assert wanted(options) == [
        Case(name, run, "quick", "all", "tiny")
        for name, run in (("honest_sdpa", 0), ("honest_numpy", 1), ("honest_sdpa", 1))
    ]


def test_the_table_says_which_check_caught_a_cheat_and_marks_what_was_accepted() -> None:
    found = {
        ("constant_text", 0): said("constant_text", "rejected", "service.x", "audit.request"),
        ("seed_ignored", 0): said("seed_ignored", "accepted"),
    }
    lines = list(rows(found))
    assert any(line.startswith("| constant_text |") and "| audit.request | 3 | 2 | x |" in line for line in lines)
    assert any(line.startswith("| seed_ignored |") and "**accepted**" in line for line in lines)
    assert any(line.startswith("| memoised_answers |") and "not judged yet" in line for line in lines)


def test_the_interval_of_a_rate_never_claims_certainty() -> None:
    low, high = wilson(0, 200)
    assert low == 0
    assert 0.015 < high < 0.025
    assert wilson(200, 200)[1] == pytest.approx(1)
