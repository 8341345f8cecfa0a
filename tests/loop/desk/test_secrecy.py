from __future__ import annotations

from pathlib import Path

import pytest

from vibeserve_loop.desk.endings import Session
from vibeserve_loop.desk.secrecy import (
    LONGEST_FILE,
    leaked,
    masked,
    masked_result,
    scrub,
    secrets_of,
    without,
)

KEY = "sk-0123456789"


def test_a_key_is_masked_in_the_log() -> None:
    lines: list[str] = []
    masked(lines.append, [KEY, "short"])(f"Authorization: Bearer {KEY} is short")
    assert lines == ["Authorization: Bearer *** is short"]


def test_files_that_hold_a_key_are_found(tmp_path: Path) -> None:
    for name in (".git", "deep"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "env").write_bytes(b"\xff\x00" + KEY.encode())
    (tmp_path / "clean").write_text("nothing")
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert leaked(tmp_path, [KEY]) == ("deep/env",)
    assert leaked(tmp_path, []) == ()


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", KEY, True),
        ("HF_TOKEN", "hf_0123456789", True),
        ("db_password", "correct horse", True),
        ("OPENAI_APIKEY", KEY, True),
        ("AWS_SECRET_ACCESS_KEY", "/not/a/place/but/a/key", True),
        ("SSL_KEY_FILE", "/etc/hostname", False),
        ("MAX_TOKEN", "100000000", False),
        ("KEYBOARD", "international", False),
        ("API_KEY", "short", False),
    ],
)
def test_variables_that_are_named_as_keys_hold_secrets(name: str, value: str, secret: bool) -> None:
    assert secrets_of({name: value}) == ((value,) if secret else ())


def test_a_key_within_another_leaves_nothing_of_the_longer_one() -> None:
    assert without("a 0123456789abc b", ["0123456789", "0123456789abc"]) == "a *** b"


def test_every_string_of_a_result_is_masked_and_the_rest_stays() -> None:
    told = Session(summary=f"used {KEY}", failed=f"died: {KEY}", skipped=(KEY, "other"), session="one", calls=3)
    found = masked_result(told, [KEY])
    assert found == Session(summary="used ***", failed="died: ***", skipped=("***", "other"), session="one", calls=3)


def test_what_a_program_wrote_is_scrubbed(tmp_path: Path) -> None:
    (tmp_path / "errors.log").write_bytes(b"\xff" + KEY.encode() + b" was refused")
    scrub(tmp_path / "errors.log", [KEY])
    scrub(tmp_path / "missing.log", [KEY])
    assert (tmp_path / "errors.log").read_bytes() == b"\xff*** was refused"


@pytest.mark.parametrize("keys", [[KEY], []])
def test_of_a_flood_the_end_is_kept_and_no_half_of_a_key(keys: list[str], tmp_path: Path) -> None:
    log = tmp_path / "errors.log"
    for half in range(len(KEY)):
        log.write_bytes(b"begins " + KEY.encode() * 9 + (b"x" * (LONGEST_FILE + half - 7) + b"the end"))
        scrub(log, keys)
        found = log.read_bytes()
        assert len(found) <= LONGEST_FILE
        assert found.endswith(b"x" * 99 + b"the end")
        assert not keys or not set(found[:99]) & set(KEY.encode())
