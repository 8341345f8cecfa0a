"""The hook inside a process that knows nothing of the gate, and what is read of its findings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_vibeserve.profiling import hook
from pytest_vibeserve.profiling.recording import read_recording

PROGRAM = """
import sys, time
sys.audit("serving.begin", "prefill", 99)
sys.audit("serving.end")
print("ready", flush=True)
while True:
    sys.audit("serving.begin", "decode", 5)
    sys.audit("serving.begin", "sample")
    sys.audit("serving.end")
    time.sleep(0.002)
    sys.audit("serving.end")
    time.sleep(0.001)
"""


def findings(folder: Path, program: str = PROGRAM) -> Path:
    """What the hook has written in a program that was told to begin and to end."""
    control, found = folder / "hook", folder / "found"
    control.mkdir()
    shutil.copy(hook.__file__, control / "sitecustomize.py")
    settings = {"PYTHONPATH": str(control), hook.VARIABLE: str(found), "PATH": os.environ["PATH"]}
    with subprocess.Popen([sys.executable, "-c", program], env=settings, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            (control / "begin").touch()
            time.sleep(0.5)
            (control / "end").touch()
            waited = time.monotonic() + 30
            while not (found / f"marks-{process.pid}.json").exists() and time.monotonic() < waited:
                time.sleep(0.02)
        finally:
            process.kill()
    return found


def test_phases_that_a_program_announces_are_its_steps(tmp_path: Path) -> None:
    began = time.monotonic()
    recording = read_recording(findings(tmp_path), 16, (began, time.monotonic()))
    assert recording.sources == ("marks",)
    assert {(step.name, step.rows) for step in recording.steps} == {("decode", 5)}
    assert all(step.seconds > 0.001 for step in recording.steps)
    assert recording.notes == ("neither torch nor mlx is imported",)


def test_what_was_announced_before_the_beginning_is_not_noted(tmp_path: Path) -> None:
    (marks,) = findings(tmp_path).glob("marks-*.json")
    assert "prefill" not in {mark[2] for mark in json.loads(marks.read_text())["marks"]}


def test_without_the_variable_a_program_runs_as_it_does_without_the_hook(tmp_path: Path) -> None:
    shutil.copy(hook.__file__, tmp_path / "sitecustomize.py")
    code = "import sys, threading; print(threading.active_count())"
    command = [sys.executable, "-S", "-c", f"import sitecustomize; {code}"]
    ended = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert ended.stdout.strip() == "1"


def test_broken_findings_are_noted_and_the_others_read(tmp_path: Path) -> None:
    found = findings(tmp_path)
    (found / "own.json").write_text("{broken")
    (found / "nsys.sqlite").write_text("no database at all, whatever its name says it were meant to be")
    (found / "marks-1.json").write_text("[]")
    recording = read_recording(found, 16, (0.0, time.monotonic()))
    assert [note.partition(":")[0] for note in recording.notes] == [
        "nsys.sqlite",
        "own.json",
        "neither torch nor mlx is imported",
    ]
    assert recording.steps


def test_mlx_evaluations_are_noted_with_its_memory(tmp_path: Path) -> None:
    pytest.importorskip("mlx.core")
    program = (
        "import mlx.core as mx\nprint('ready', flush=True)\nwhile True: mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))"
    )
    recording = read_recording(findings(tmp_path, program), 16, (0.0, time.monotonic()))
    assert "mlx" in recording.sources
    assert {step.name for step in recording.steps} == {"decode"}
    assert recording.counters["peak_memory"] > 0


def test_a_folder_without_findings_is_an_empty_recording(tmp_path: Path) -> None:
    recording = read_recording(tmp_path, 16, (1.0, 2.0))
    assert (recording.window, recording.steps, recording.notes) == ((1.0, 2.0), (), ())
