"""A report is whole or not there, and says the same after it was read back."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.report import (
    EXITS,
    SCHEMA,
    CandidatePart,
    Check,
    Environment,
    Measurement,
    Report,
    Seed,
    TargetPart,
    Verdict,
    read_report,
    write_atomically,
    write_report,
)


def a_report(**changes: object) -> Report:
    whole = Report(
        schema=SCHEMA,
        target=TargetPart(name="tiny_llama", profile="tiny", digest="d", suite_digest="s"),
        candidate=CandidatePart(path="/somewhere", tree="t", tree_after="t"),
        depth="quick",
        seed=Seed(commitment="c", reveal="r"),
        environment=Environment(
            isolation="bubblewrap", platform="Linux", cpu="x", cores=2, memory_gib=4, python="3.11"
        ),
        verdict=Verdict(outcome="accepted", reason="12 checks passed"),
    )
    return whole.model_copy(update=changes)


def a_measurement(**changes: object) -> Measurement:
    found = Measurement(
        metric="output_throughput", load="c16", value=100, low=90, high=110, unit="tok/s", direction="max",
        headline=True, samples=(95.0, 105.0),
    )  # fmt: skip
    return found.model_copy(update=changes)


def test_a_report_reads_back_as_it_was_written(tmp_path: Path) -> None:
    report = a_report(measurements=(a_measurement(),))
    write_report(report, tmp_path / "deeper" / "report.json")
    assert read_report(tmp_path / "deeper" / "report.json") == report


@pytest.mark.parametrize("high", [math.inf, 1e308])
def test_an_open_interval_survives_the_file(high: float, tmp_path: Path) -> None:
    report = a_report(measurements=(a_measurement(low=-high, high=high),))
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json").measurements[0].high == high


def test_a_value_that_is_no_number_survives_the_file(tmp_path: Path) -> None:
    report = a_report(measurements=(a_measurement(value=math.nan),))
    write_report(report, tmp_path / "report.json")
    assert math.isnan(read_report(tmp_path / "report.json").measurements[0].value)


def test_a_report_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    write_report(a_report(measurements=(a_measurement(high=math.inf),)), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse)["schema"] == SCHEMA


@given(text=st.text(), example=st.text())
def test_what_a_candidate_says_of_itself_cannot_break_the_report(text: str, example: str) -> None:
    # Lone surrogates have no UTF-8, and reach the gate by no way: they are not in the alphabet of st.text().
    check = Check(name="any", result="fail", detail=text, example=example)
    again = Report.model_validate_json(
        a_report(verdict=Verdict(outcome="rejected", reason=text, checks=(check,))).model_dump_json(by_alias=True)
    )
    assert again.verdict.checks == (check,)


def test_the_headline_is_the_measurement_that_is_marked() -> None:
    other, headline = a_measurement(headline=False, load="c1"), a_measurement()
    assert a_report(measurements=(other, headline)).headline == headline
    assert a_report().headline is None


@pytest.mark.parametrize(("outcome", "code"), EXITS.items())
def test_every_outcome_has_its_exit_code(outcome: str, code: ExitCode) -> None:
    assert Verdict.model_validate({"outcome": outcome, "reason": ""}).exit_code == code
    assert (code == ExitCode.ACCEPTED) == (outcome == "accepted")


def test_a_missing_report_is_nobodys_fault_but_the_machines(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="left no report"):
        read_report(tmp_path / "report.json")


@pytest.mark.parametrize("torn", [b"", b'{"schema": 1', b"[]", b"null", b'{"schema": 1}', b"\xff\xfe\x00", b'"text"'])
def test_a_torn_report_is_said_to_be_one(torn: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(torn)
    with pytest.raises(InfrastructureError, match=r"report\.json is not a"):
        read_report(tmp_path / "report.json")


def test_a_report_of_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"schema": SCHEMA + 1, "anything": "else"}))
    with pytest.raises(UsageError, match="update pytest-vibeserve"):
        read_report(tmp_path / "report.json")


def test_fields_that_a_later_version_adds_are_passed_over(tmp_path: Path) -> None:
    table = json.loads(a_report().model_dump_json(by_alias=True)) | {"later": 1}
    (tmp_path / "report.json").write_text(json.dumps(table))
    assert read_report(tmp_path / "report.json") == a_report()


def test_a_reader_beside_a_writer_and_after_its_death_sees_whole_reports_only(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(a_report(), path)
    program = (
        "import sys; from pathlib import Path; from pytest_vibeserve.report import read_report, write_report\n"
        "path = Path(sys.argv[1]); one = read_report(path)\n"
        "other = one.model_copy(update={'command': 'x' * 300_000})\n"
        "while True: write_report(other, path); write_report(one, path)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as writer:
        seen = {read_report(path).command for _ in range(100)}
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            seen.add(read_report(path).command)
        writer.kill()
    assert seen == {"", "x" * 300_000}
    assert read_report(path).command in seen


def test_nothing_is_left_beside_a_file_that_was_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "one")
    write_atomically(tmp_path / "file", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "two"


def test_a_report_may_be_read_by_whoever_may_read_the_folders_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "report.json", "{}")
    assert (tmp_path / "report.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match=r"cannot write .*report\.json"):
        write_report(a_report(), tmp_path / "file" / "report.json")


def test_a_file_that_cannot_be_written_whole_is_the_machines_failure_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path; from pytest_vibeserve import errors, report\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: report.write_atomically(Path(sys.argv[1]), 'x' * 1000)\n"
        "except errors.InfrastructureError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "report.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in ended.stdout
    assert list(tmp_path.iterdir()) == []
