"""One gate in a process of its own, so that the broker can end it: reads a job's file, writes the assessment's."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import ExitCode, VibeserveError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Case, Gate
from vibeserve_loop.machine.devices import Device

JOB_FILE, FOUND_FILE = "job.json", "assessment.json"


class GateJob(BaseModel):
    """What to judge and how the gate is started; folders are absolute."""

    model_config = ConfigDict(frozen=True)

    target: str
    profile: str
    home: str
    command: tuple[str, ...]
    strict: bool = False
    device: Device | None = None
    waits_s: float = 0.0
    candidate: str
    rival: str
    depth: Literal["quick", "full"]


def obey_parent() -> None:
    """End, and the gate with it, when standard input closes: an interrupt, for then the gate is waited for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()


def _interrupt_at_end_of_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


def main(folder: Path) -> int:
    """Judge the job in the folder; the exit code is the error's when there is no assessment."""
    job = GateJob.model_validate_json((folder / JOB_FILE).read_bytes())
    target = load_target(job.target, job.profile)
    gate = Gate(target, Path(job.home), job.command, job.strict, waits_s=job.waits_s)
    try:
        rival = Path(job.rival) if job.rival else None
        found = gate.assess(Case(Path(job.candidate), rival, job.depth, folder, device=job.device))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except VibeserveError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    write_atomically(folder / FOUND_FILE, found.model_dump_json() + "\n")
    return 0
