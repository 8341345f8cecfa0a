from __future__ import annotations

from pathlib import Path

import pytest

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.ledger.lines import Lines
from vibeserve_loop.records import Issue

ONE, OTHER = Issue(name="one", weight=1.0), Issue(name="other", weight=0.5)


def test_what_was_added_is_there_and_a_torn_line_is_not(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "new" / "lines.jsonl", Issue)
    assert lines.read() == ()
    lines.add(ONE)
    with lines.path.open("ab") as stream:
        stream.write(b'{"name": "to')
    assert lines.read() == (ONE,)
    lines.add(OTHER)
    assert lines.read() == (ONE, OTHER)


def test_a_line_of_something_else_is_damage(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="is damaged"):
        Lines(tmp_path / "lines.jsonl", Issue).read()
