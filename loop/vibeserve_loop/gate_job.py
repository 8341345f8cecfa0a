"""One gate in a process of its own, so that the broker can end it: reads a job's file, writes the assessment's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pytest_vibeserve.errors import VibeserveError
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.target import load_target
from vibeserve_loop.assess import Case, Gate

JOB_FILE, FOUND_FILE = "job.json", "assessment.json"


class GateJob(BaseModel):
    """What to judge and how the gate is started; folders are absolute."""

    model_config = ConfigDict(frozen=True)

    target: str
    profile: str
    home: str
    command: tuple[str, ...]
    candidate: str
    rival: str
    depth: Literal["quick", "full"]


def main(folder: Path) -> int:
    """Judge the job in the folder; the exit code is the error's when there is no assessment."""
    job = GateJob.model_validate_json((folder / JOB_FILE).read_bytes())
    gate = Gate(load_target(job.target, job.profile), Path(job.home), job.command)
    try:
        found = gate.assess(Case(Path(job.candidate), Path(job.rival) if job.rival else None, job.depth, folder))
    except VibeserveError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    write_atomically(folder / FOUND_FILE, found.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
