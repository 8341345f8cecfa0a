from __future__ import annotations

import time
from pathlib import Path

from loop_lab import Lab, faster
from round_lab import a_round, starter, worked

from vibeserve_loop.ledger.runs import RunFolder
from vibeserve_loop.records import AgentResult, Order, Spend, Step, Task
from vibeserve_loop.showing.progress_file import HEAD, progress_of

BEGIN = ["# lab, run run", "", *HEAD]


def _lines(folder: RunFolder) -> list[str]:
    return folder.progress.read_text().splitlines()


def test_a_round_adds_a_line_with_what_it_cost_and_steps_add_none(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with progress_of(folder, "lab", [starter()]) as tell:
        before, seen = folder.progress.stat().st_ino, _lines(folder)
        tell(Step(round=1, phase="edit", text="agent"))
        assert _lines(folder) == seen
        spend = Spend(seconds=30.0, usd=1.5, tokens_in=10, tokens_out=2)
        tell(worked(1, 1.5, work=AgentResult(summary="a | b\nc", spend=spend)))
        tell(a_round(2, Task(kind="order", hypothesis="asked", orders=(Order(verb="stop"),)), ruling="accept"))
        assert folder.progress.stat().st_ino == before
    lines = _lines(folder)
    assert lines[:4] == BEGIN
    assert lines[4].startswith("| 0 starter | accept | 100.0 tok/s |  | 1.0 |  |  |")
    assert lines[5] == ("| 1 work | accept | 150.0 tok/s | 0.5 | 0.5 | 1.50 | 12 | a \\| b c | every check passed |")
    assert lines[6].startswith("| 2 order | accept |  |  |  |  |  | asked |")


def test_what_a_kill_left_is_written_anew_from_the_record(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.progress.write_text("| 0 star")
    with progress_of(folder, "lab", [starter(), worked(1, 1.5)]):
        assert len(_lines(folder)) == len(BEGIN) + 2


def test_the_file_is_kept_up_while_a_run_is_under_way(lab: Lab) -> None:
    lab.skill("batching", faster(3), relieves="serial-service")
    stuck = 'import time\ntime.sleep(60 * (folder / "speed").read_text().startswith("300"))\nsys.exit(3)'
    lab.skill("stuck", stuck, relieves="step-overhead idle-cores")
    process = lab.start("run", "lab", *lab.gate, "--sandbox", "none", "--seed", "7")
    until = time.monotonic() + 40
    while not list(lab.folder.glob("runs/*/rounds/0002/brief.md")) and time.monotonic() < until:
        time.sleep(0.05)
    lines = (lab.latest / "progress.md").read_text().splitlines()
    process.terminate()
    process.communicate(timeout=30)
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["0 starter", "1 work"]
    assert "300.0 tok/s" in lines[5]
