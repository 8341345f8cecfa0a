from __future__ import annotations

from pathlib import Path

import pytest

from vibeserve_loop.options import absolute


def test_paths_among_a_commands_words_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tool", "agent.py", "python"):
        (tmp_path / name).write_text("")
    (tmp_path / "acp").mkdir()
    (tmp_path / "with space").mkdir()
    here = str(tmp_path)
    assert absolute(("./tool", "agent.py")) == (f"{here}/tool", f"{here}/agent.py")
    assert absolute(("python", "acp", "./acp", "with space")) == ("python", "acp", f"{here}/acp", "with space")
    assert absolute(("x", "--config=agent.py", "--deep=./with space", "-v")) == (
        "x", f"--config={here}/agent.py", f"--deep={here}/with space", "-v",
    )  # fmt: skip
    assert absolute(("x", "missing.py", "http://a.test/v1", "/etc/hostname", "")) == (
        "x", "missing.py", "http://a.test/v1", "/etc/hostname", "",
    )  # fmt: skip
