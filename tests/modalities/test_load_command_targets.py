"""The load client as a command with the requests of targets: chats, clips, streams and images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from wired import served

from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import load_target

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def told(name: str, *words: str) -> list[dict[str, Any]]:
    """What the command says of a target's own starter."""
    with served(name, model_folder(load_target(name, "tiny")), "honest") as port:
        command = [sys.executable, "-m", "pytest_vibeserve.load_command", f"http://127.0.0.1:{port}", *words]
        done = subprocess.run(
            [*command, "--target", name, "--profile", "tiny"], cwd=ROOT, capture_output=True, text=True, timeout=200
        )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_clips_are_sent_whole_and_spoken_as_streams() -> None:
    whole, spoken = told("moonshine_streaming", "--concurrency", "2", "--requests", "4", "--streams", "2")
    assert (whole["concurrency"], whole["issued"], whole["failed"]) == (2, 4, 0), whole["first_failure"]
    assert whole["ttft"]["p50"] is None, "an answer sent whole does not say when it began"
    assert (spoken["streams"], spoken["issued"], spoken["failed"]) == (2, 2, 0), spoken["first_failure"]
    assert spoken["ttft"]["p50"] > 0
    assert whole["output_throughput"] > 0


def test_images_are_asked_for_on_a_schedule() -> None:
    (level,) = told("show_o2_h100", "--rate", "2", "--requests", "3")
    assert (level["rate"], level["issued"], level["failed"]) == (2.0, 3, 0), level["first_failure"]
    assert level["e2e_latency"]["p50"] > 0


def test_chats_under_a_schema_are_a_targets_too() -> None:
    (level,) = told("llama_mlx_json", "--concurrency", "2", "--requests", "6", "--slo", "ttft=30 s")
    assert (level["issued"], level["failed"], level["slo_attainment"]) == (6, 0, 1.0), level["first_failure"]
