from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_vibeserve.errors import InfrastructureError, UsageError
from vibeserve_loop.ledger.history import History
from vibeserve_loop.records import Decision, Round, Task

FULL_DISK = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from pytest_vibeserve.errors import InfrastructureError
from vibeserve_loop.ledger.history import History
from vibeserve_loop.records import Decision, Round, Task
history = History(Path("/mnt/rounds.jsonl"), repair=True)
try:
    for number in range(10_000):
        decision = Decision(ruling="accept", reason="x" * 1000)
        history.append(Round(round=number, task=Task(kind="starter"), decision=decision, started=0, wall_s=0))
except InfrastructureError as error:
    print(error)
again = History(Path("/mnt/rounds.jsonl"), repair=False)
print(len(again.rounds) == len(history.rounds) > 0, repr(again.note))
"""


def _round(number: int) -> Round:
    decision = Decision(ruling="accept", reason="fine")
    return Round(round=number, task=Task(kind="starter"), decision=decision, started=1.0, wall_s=2.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    history = History(tmp_path / "rounds.jsonl", repair=True)
    for number in range(3):
        history.append(_round(number))
    return history.path


def test_what_was_appended_is_read_again(path: Path) -> None:
    assert History(path, repair=True).rounds == tuple(_round(number) for number in range(3))


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_torn_last_line_is_dropped_wherever_it_tore(path: Path, kept: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:kept])
    history = History(path, repair=True)
    assert len(history.rounds) == 3
    assert "torn" in history.note
    assert path.read_bytes() == whole
    history.append(_round(3))
    assert len(History(path, repair=True).rounds) == 4


def test_only_looking_leaves_a_torn_line_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"half')
    before = path.read_bytes()
    assert len(History(path, repair=False).rounds) == 3
    assert path.read_bytes() == before


def test_damage_before_the_last_line_is_not_passed_over(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{broken}\n" + lines[2])
    with pytest.raises(InfrastructureError, match=r"rounds\.jsonl:2 is damaged"):
        History(path, repair=True)


def test_a_missing_line_is_noticed(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(InfrastructureError, match="holds round 2, expected 1"):
        History(path, repair=True)


def test_a_newer_schema_is_refused_with_the_remedy(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":2'))
    with pytest.raises(UsageError, match="has schema 2, this version reads up to 1: update"):
        History(path, repair=True)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap for a small disk")
def test_a_full_disk_loses_nothing_and_says_what_to_do() -> None:
    checkout = Path(__file__).resolve().parents[3]
    small = ["bwrap", "--dev-bind", "/", "/", "--size", "100000", "--tmpfs", "/mnt"]
    command = [*small, sys.executable, "-c", FULL_DISK]
    done = subprocess.run([*command, str(checkout), str(checkout / "loop")], capture_output=True, text=True, timeout=60)
    assert "No space left on device; nothing is lost: free some space and resume" in done.stdout, done.stderr
    assert "True ''" in done.stdout
