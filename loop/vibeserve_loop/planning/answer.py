"""The planner's answer: a file that it leaves in its workspace, read strictly; what cannot be read is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pytest_vibeserve.target import Target
from vibeserve_loop.planning.backlog import misfit
from vibeserve_loop.proposals import Answer
from vibeserve_loop.records import Round

PLAN_FILE = "plan.json"
LARGEST = 200_000


def read_answer(folder: Path, rounds: Sequence[Round], target: Target) -> tuple[Answer | None, str]:
    """The answer, or None and why there is none that can be followed."""
    path = folder / PLAN_FILE
    if path.is_symlink() or not path.is_file():
        return None, f"the planner left no {PLAN_FILE}"
    if (size := path.stat().st_size) > LARGEST:
        return None, f"{PLAN_FILE} has {size} bytes; {LARGEST} are read"
    try:
        answer = Answer.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        return None, f"{PLAN_FILE}: {where}: {first['msg']}"
    why = misfit(answer, rounds, [objective.metric for objective in target.objective])
    return (None, why) if why else (answer, "")
