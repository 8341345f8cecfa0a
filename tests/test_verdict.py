"""Acceptance needs positive evidence; everything else has a name and a reason of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import CandidateFailure, ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.findings import INFRASTRUCTURE, PROPERTY, USAGE, Findings, blame, pack, unpack
from pytest_vibeserve.judge import ContractBroken, Inconclusive
from pytest_vibeserve.report import Ceiling, Check, Comparison, Hint, Measurement
from pytest_vibeserve.verdict import environment, verdict

PASSED = Check(name="audit.margin", result="pass", statistic=1.0, threshold=1.9)
FAILED = Check(name="audit.text", result="fail", detail="the text is wrong")
OPEN = Check(name="audit.groups", result="inconclusive", detail="more samples are needed")
SCANNED = Check(name="scan", result="pass", statistic=0, threshold=0)
SKIPPED = Check(name="repeats.computed", result="skip", detail="allowed")
RECORDS = [
    PASSED,
    Measurement(metric="ttft_p50", load="c1", value=1, low=0, high=float("inf"), unit="ms", direction="min"),
    Hint(name="queueing", value=2, text="text"),
    Ceiling(metric="output_throughput", load="c1", value=9, unit="tok/s", derivation="d"),
    Comparison(baseline="b", baseline_tree="t", metric="m", load="c1", gain=1, low=1, high=1, pairs=4,
               conclusion="better", baseline_value=1, candidate_value=1, unit="ms"),
]  # fmt: skip


def found(*checks: Check, **parts: Any) -> Findings:
    judged = {"test_accuracy.py::test_one"} if checks else set()
    return replace(Findings(records=list(checks), passed_accuracy=judged), **parts)


def test_passed_checks_of_a_passed_accuracy_test_are_an_acceptance() -> None:
    whole = verdict(found(PASSED, SKIPPED), "full")
    assert (whole.outcome, whole.provisional, whole.reason) == ("accepted", False, "1 checks passed")
    assert whole.exit_code == ExitCode.ACCEPTED


@pytest.mark.parametrize(
    ("findings", "depth", "told"),
    [
        (found(PASSED), "quick", "quick samples only"),
        (found(PASSED, deselected=3), "full", "3 tests deselected"),
        (found(PASSED, skipped=["a", "b"]), "full", "2 tests skipped"),
    ],
)
def test_an_acceptance_of_less_than_the_whole_is_provisional_and_says_of_what(
    findings: Findings, depth: Any, told: str
) -> None:
    whole = verdict(findings, depth)
    assert (whole.outcome, whole.provisional) == ("accepted", True)
    assert told in whole.reason


ENDINGS = {
    "a collected test that did not run": (
        found(PASSED, expected=["a", "b"], ran=["a"]),
        "infrastructure",
        "1 of 2 collected tests ran, which is not an acceptance: b",
    ),
    "a test that ran twice": (
        found(PASSED, expected=["a"], ran=["a", "a"]),
        "infrastructure",
        "2 of 1 collected tests ran, which is not an acceptance: a",
    ),
    "only what the gate says of its own surroundings": (
        found(SCANNED),
        "nothing",
        "no accuracy test has judged an answer",
    ),
    "one failure among many passes": (found(PASSED, FAILED, PASSED), "rejected", "audit.text: the text is wrong"),
    "a failure beside a broken machine": (found(FAILED, infrastructure=["disk full"]), "rejected", "audit.text"),
    "a failure before an interruption": (found(FAILED, interrupted=True), "rejected", "audit.text"),
    "a broken machine": (found(PASSED, infrastructure=["disk full"]), "infrastructure", "disk full"),
    "an interruption": (found(PASSED, interrupted=True), "nothing", "interrupted before the end"),
    "an open question": (found(PASSED, OPEN), "inconclusive", "audit.groups: more samples are needed"),
    "nothing at all": (found(), "nothing", "no accuracy test has judged an answer"),
    "checks of no accuracy test": (found(PASSED, passed_accuracy=set()), "nothing", "no accuracy test"),
    "an accuracy test without checks": (Findings(passed_accuracy={"a"}), "nothing", "no accuracy test"),
    "skips only": (found(SKIPPED), "nothing", "no accuracy test"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_anything_short_of_positive_evidence_is_no_acceptance(ending: str) -> None:
    findings, outcome, reason = ENDINGS[ending]
    whole = verdict(findings, "full")
    assert whole.outcome == outcome
    assert whole.reason.startswith(reason)
    assert whole.exit_code != ExitCode.ACCEPTED


def test_an_acceptance_names_the_loads_that_no_test_measures() -> None:
    measured = replace(found(PASSED), records=[PASSED, RECORDS[1]])
    told = "1 checks passed; nothing was measured at c8: write a test that calls evaluator.measure('c8')"
    assert verdict(measured, "full", ["c8", "c1", "c8"]).reason == told
    assert verdict(measured, "full", ["c1"]).reason == "1 checks passed"
    assert verdict(replace(measured, deselected=2), "full", ["c8"]).reason == "1 checks passed, 2 tests deselected"


def test_several_failures_are_counted_and_stand_first() -> None:
    whole = verdict(found(PASSED, FAILED, OPEN, FAILED), "full")
    assert whole.reason == "audit.text: the text is wrong (and 1 more)"
    assert [check.result for check in whole.checks] == ["fail", "fail", "inconclusive", "pass"]


results = st.sampled_from([PASSED, FAILED, OPEN, SKIPPED])


@given(st.lists(results), st.booleans(), st.booleans(), st.booleans())
def test_a_failed_check_always_rejects_and_acceptance_needs_a_pass(
    checks: list[Check], judged: bool, broken: bool, interrupted: bool
) -> None:
    findings = found(
        *checks,
        passed_accuracy={"a"} if judged else set(),
        infrastructure=["x"] if broken else [],
        interrupted=interrupted,
    )
    outcome = verdict(findings, "full").outcome
    assert (outcome == "rejected") == (FAILED in checks)
    if outcome == "accepted":
        assert judged
        assert PASSED in checks
        assert OPEN not in checks
        assert not broken
        assert not interrupted


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_crosses_processes_unchanged(record: Any) -> None:
    assert unpack(pack(record)) == record


@given(detail=st.text(), statistic=st.none() | st.floats(allow_nan=False))
def test_a_check_crosses_processes_whatever_it_says(detail: str, statistic: float | None) -> None:
    check = Check(name="any", result="fail", detail=detail, statistic=statistic)
    assert unpack(pack(check)) == check


def test_properties_of_other_plugins_are_passed_over() -> None:
    findings = Findings()
    for name, value in [(PROPERTY, pack(PASSED)), (INFRASTRUCTURE, "disk"), (USAGE, "typo"), ("other", "value")]:
        findings.take(name, value)
    assert findings == Findings(records=[PASSED], infrastructure=["disk"], usage=["typo"])


@pytest.mark.parametrize(
    ("error", "name", "told"),
    [
        (UsageError("typo"), USAGE, "typo"),
        (InfrastructureError("disk full"), INFRASTRUCTURE, "disk full"),
        (CandidateFailure("startup", "it ended", "log"), PROPERTY, '"result":"fail"'),
        (Inconclusive("too few"), PROPERTY, '"result":"inconclusive"'),
        (ContractBroken("wrong"), PROPERTY, '"result":"fail"'),
        (AssertionError("wrong\nand more"), PROPERTY, '"detail":"wrong"'),
        (ZeroDivisionError("by zero"), INFRASTRUCTURE, "ZeroDivisionError: by zero"),
        (MemoryError(), INFRASTRUCTURE, "MemoryError"),
    ],
)
def test_every_kind_of_failure_has_one_owner(
    error: BaseException, name: str, told: str, request: pytest.FixtureRequest
) -> None:
    ((property_name, text),) = list(blame(request.node, error))
    assert property_name == name
    assert told in text


def test_nobody_is_blamed_for_an_interruption(request: pytest.FixtureRequest) -> None:
    assert list(blame(request.node, KeyboardInterrupt())) == []


def test_the_environment_says_what_the_gate_ran_on() -> None:
    here = environment("bubblewrap")
    assert here.isolation == "bubblewrap"
    assert here.cores >= 1
    assert here.memory_gib > 0
    assert here.packages["pytest"] == pytest.__version__
