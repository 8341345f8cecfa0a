"""The gate as its users see it: one verdict, wherever they look for it."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from gates import Ended, Gates
from laboratory import laboratory
from starter_edits import edited

from pytest_vibeserve.errors import ExitCode

LAB_STARTER = "starter"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target whose suite is short."""
    return laboratory(tmp_path_factory.mktemp("targets") / "lab")


@pytest.fixture(scope="module")
def begun(lab: Path, gates: Gates, tmp_path_factory: pytest.TempPathFactory) -> Gates:
    """Three gates that take their time, begun together: plain, spread over workers, and of a cheat."""
    out = tmp_path_factory.mktemp("out")

    def honest(into: Path) -> None:
        edited(lab / LAB_STARTER, into)

    def leaking(into: Path) -> None:
        edited(
            lab / LAB_STARTER, into, ("text.py", "return self._held[: min(starts)], True", "return self._held, True")
        )

    target = str(lab)
    outputs = [f"--junitxml={out}/plain.xml", f"--vibeserve-markdown={out}/plain.md", "--vibeserve-nonce=a word"]
    outputs += [f"--benchmark-json={out}/benchmark.json", f"--benchmark-storage={out}", "--benchmark-autosave"]
    gates.begin("plain", honest, *outputs, f"--vibeserve-server-log={out}/server.log", alone=True, target=target)
    gates.begin("workers", honest, "-n", "2", alone=True, target=target)
    gates.begin("leaking", leaking, f"--junitxml={out}/leaking.xml", GITHUB_STEP_SUMMARY=f"{out}/job.md", target=target)
    return gates


@pytest.fixture(scope="module")
def out(begun: Gates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where those gates wrote what they were asked to write."""
    return next(tmp_path_factory.getbasetemp().glob("out*"))


@pytest.fixture
def plain(begun: Gates) -> Ended:
    return begun.result("plain")


@pytest.fixture
def leaking(begun: Gates) -> Ended:
    return begun.result("leaking")


def properties(file: Path) -> dict[str, str]:
    found = ElementTree.parse(file).getroot().iter("property")
    return {str(one.get("name")): str(one.get("value")) for one in found}


def test_an_honest_candidate_ends_with_zero_and_says_accepted(plain: Ended) -> None:
    assert plain.code == ExitCode.ACCEPTED, plain.output
    assert "ACCEPTED (provisional): " in plain.output
    assert plain.report.verdict.outcome == "accepted"


def test_a_report_names_what_was_judged_and_by_what(plain: Ended) -> None:
    report = plain.report
    assert report.candidate.tree == report.candidate.tree_after
    assert len(report.candidate.tree) == 64
    assert (report.target.name, report.target.profile, report.depth) == ("tiny_llama", "tiny", "quick")
    assert report.nonce == "a word"
    assert report.environment.packages["pytest"] != "missing"
    assert len(report.tests) == 2
    assert "--vibeserve-depth quick" in report.command


def test_the_seed_was_committed_to_before_it_was_revealed(plain: Ended) -> None:
    seed = plain.report.seed
    assert hashlib.sha256(seed.reveal.encode()).hexdigest() == seed.commitment


def test_every_check_that_decides_has_a_statistic_and_a_limit(plain: Ended) -> None:
    checks = plain.report.verdict.checks
    assert len(checks) > 10
    assert [check.name for check in checks if check.result == "pass" and check.statistic is None] == []


def test_measurements_carry_their_samples_interval_and_ceiling(plain: Ended) -> None:
    report = plain.report
    assert report.headline is not None
    assert report.headline.low <= report.headline.value <= report.headline.high
    assert len(report.headline.samples) == 3
    assert report.headline.ceiling_share is not None
    assert report.ceilings
    assert {hint.name for hint in report.hints} >= {"step-overhead"}


def test_the_servers_own_output_is_kept_where_it_was_asked_for(plain: Ended, out: Path) -> None:
    assert "== serve: " in (out / "server.log").read_text()


def test_the_markdown_summary_begins_with_the_verdict(plain: Ended, out: Path) -> None:
    assert (out / "plain.md").read_text().startswith("## ACCEPTED (provisional): ")


def test_junit_properties_carry_the_verdict_and_the_measurements(plain: Ended, out: Path) -> None:
    found = properties(out / "plain.xml")
    assert found["vibeserve.outcome"] == "accepted"
    assert found["vibeserve.output_throughput@c16"].endswith(" tok/s")


def test_measurements_are_in_pytest_benchmarks_table_and_json(plain: Ended, out: Path) -> None:
    assert "benchmark: 1 tests" in plain.output
    (benchmark,) = json.loads((out / "benchmark.json").read_text())["benchmarks"]
    assert benchmark["extra_info"]["output_throughput@c16"] == pytest.approx(plain.report.headline.value)  # type: ignore[union-attr]
    assert benchmark["stats"]["rounds"] == 3


def test_a_later_run_is_compared_with_the_stored_one(plain: Ended, out: Path, lab: Path, gates: Gates) -> None:
    (stored,) = out.rglob("0001_*.json")
    assert json.loads(stored.read_text())["benchmarks"]
    options = [f"--benchmark-storage={out}", "--benchmark-compare=0001"]
    again = gates.run(lab / LAB_STARTER, "-k", "test_load", *options, target=str(lab))
    assert "(0001_" in again.output
    assert "(NOW)" in again.output
    assert again.code == ExitCode.NOTHING, "measured, but no accuracy test has judged an answer"


def test_workers_reach_the_same_verdict_by_the_same_checks(plain: Ended, begun: Gates) -> None:
    spread = begun.result("workers")
    assert spread.code == plain.code, spread.output
    names = [{check.name for check in ended.report.verdict.checks} for ended in (plain, spread)]
    # Whether a short load's few answers carry logprobs to be checked is drawn by chance.
    assert {name.partition(".")[0] for name in names[0] ^ names[1]} <= {"load"}
    assert {m.metric for m in spread.report.measurements} == {m.metric for m in plain.report.measurements}
    assert len(spread.report.tests) == len(plain.report.tests)


def test_a_rejected_candidate_has_a_report_that_names_the_property_with_an_example(leaking: Ended) -> None:
    assert leaking.code == ExitCode.REJECTED, leaking.output
    verdict = leaking.report.verdict
    assert verdict.outcome == "rejected"
    assert verdict.reason.startswith("interface.stop")
    assert verdict.checks[0].example
    assert "REJECTED: interface.stop" in leaking.output


def test_nothing_is_measured_of_a_rejected_candidate(leaking: Ended) -> None:
    assert leaking.report.measurements == ()
    assert "not measured: the candidate was not accepted" in leaking.report.model_dump_json()


def test_a_rejection_shows_no_traceback_of_the_gate(leaking: Ended) -> None:
    assert "Traceback" not in leaking.output
    assert "conversation.py" not in leaking.output


def test_a_ci_jobs_summary_and_junit_file_say_rejected(leaking: Ended, out: Path) -> None:
    assert "## REJECTED: interface.stop" in (out / "job.md").read_text()
    assert properties(out / "leaking.xml")["vibeserve.outcome"] == "rejected"
