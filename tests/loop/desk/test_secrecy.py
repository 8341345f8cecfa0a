from __future__ import annotations

from pathlib import Path

from vibeserve_loop.desk.secrecy import leaked, masked

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
