"""Nsight Systems' SQLite export, read from small databases in its schema."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pytest_vibeserve.profiling.nsight import nsight_command, read_database, why_no_nsight

CLOCK = 1000.0
SCHEMA = """
CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs INTEGER, utcTime TEXT, localTime TEXT);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
  contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER, demangledName INTEGER NOT NULL,
  shortName INTEGER NOT NULL);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER NOT NULL, end INTEGER NOT NULL, bytes INTEGER NOT NULL,
  copyKind INTEGER NOT NULL, correlationId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER,
  globalTid INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL, returnValue INTEGER);
CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER, text TEXT, textId INTEGER,
  globalTid INTEGER);
"""
CONTENT = """
INSERT INTO StringIds VALUES (1, 'gemm_bf16'), (2, 'softmax'), (3, 'cudaLaunchKernel'), (4, 'Decode step');
INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES (5000000000000, '', '');
INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES
  (1000000000, 1500000000, 0, 1, 7, 11, 1, 1), (1600000000, 1700000000, 0, 1, 7, 12, 2, 2);
INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (1700000000, 1800000000, 4096, 1, 13);
INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (990000000, 995000000, 0, 5, 11, 3, 0);
INSERT INTO NVTX_EVENTS VALUES (900000000, 1400000000, 59, 'prefill 17', NULL, 5),
  (1500000000, 1900000000, 59, NULL, 4, 5), (1, 2, 59, 'tokenise', NULL, 5), (3, NULL, 34, 'prefill', NULL, 5);
"""


def made(folder: Path, *scripts: str) -> Path:
    path = folder / "nsys.sqlite"
    with closing(sqlite3.connect(path)) as base:
        for script in scripts:
            base.executescript(script)
    return path


def test_kernels_copies_calls_and_named_ranges_are_read(tmp_path: Path) -> None:
    found = read_database(made(tmp_path, SCHEMA, CONTENT), CLOCK)
    began = 5000 - CLOCK
    assert [(one.name, round(one.start - began, 3), round(one.seconds, 3)) for one in found.kernels] == [
        ("gemm_bf16", 1.0, 0.5), ("softmax", 1.6, 0.1), ("copy", 1.7, 0.1),
    ]  # fmt: skip
    assert [one.name for one in found.operators] == ["cudaLaunchKernel"]
    assert [(one.name, round(one.seconds, 3)) for one in found.steps] == [("prefill", 0.5), ("decode", 0.4)]
    assert found.window == pytest.approx((began + 0.9, began + 1.9))


def test_a_run_without_kernels_has_no_table_of_them(tmp_path: Path) -> None:
    found = read_database(made(tmp_path, "CREATE TABLE StringIds (id INTEGER, value TEXT);"), CLOCK)
    assert (found.kernels, found.steps, found.window) == ((), (), (0.0, 0.0))


@pytest.mark.parametrize("scripts", [(), ("CREATE TABLE other (id INTEGER);",)])
def test_another_database_is_said_to_be_none_of_nsights(tmp_path: Path, scripts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="StringIds"):
        read_database(made(tmp_path, *scripts), CLOCK)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "nsys.sqlite"
    path.write_text("not a database, but long enough to be taken for the header of one")
    with pytest.raises(ValueError, match="cannot be read"):
        read_database(path, CLOCK)


def test_a_candidate_for_the_cpu_is_started_without_nsight() -> None:
    assert nsight_command("cpu") == ()


def test_what_nsight_needs_is_said_in_one_line_and_only_where_it_is_meant_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_no_nsight("cpu") == ""
    assert why_no_nsight("cuda").startswith("no nsys on PATH: install Nsight Systems")
    (tmp_path / "nsys").write_text("#!/bin/sh\n")
    (tmp_path / "nsys").chmod(0o755)
    assert "install it below /usr" in why_no_nsight("cuda")
    assert nsight_command("cuda") == ()
