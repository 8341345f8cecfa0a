from __future__ import annotations

import os
from pathlib import Path

from vibeserve_loop.desk.fingerprint import fingerprint


def test_every_change_of_names_modes_contents_and_links_shows(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    seen = [fingerprint(tmp_path)]
    for change in (
        lambda: (tmp_path / "a").write_text("2"),
        lambda: (tmp_path / "a").rename(tmp_path / "b"),
        lambda: (tmp_path / "b").chmod(0o755),
        lambda: (tmp_path / "link").symlink_to("b"),
        lambda: os.mkfifo(tmp_path / "pipe"),
    ):
        change()
        seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == len(seen)


def test_what_belongs_to_git_or_to_python_does_not_count(tmp_path: Path) -> None:
    before = fingerprint(tmp_path)
    for name in (".git", "__pycache__"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    assert fingerprint(tmp_path) == before
