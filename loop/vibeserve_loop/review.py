"""A second pair of eyes on a change: a command of the user's that reads it as data and can only ask for more."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.processes import Place, run_tethered

QUESTION = "{question}"
LONGEST_DIFF = 200_000
LONGEST_REASON = 400


class Opinion(BaseModel):
    """What a reviewer may say; there is no word for accepting and none for refusing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: Literal["nothing", "more probes", "a person"]
    why: str = Field(default="", max_length=LONGEST_REASON)


def review(command: Sequence[str], diff: str, flags: Sequence[str], folder: Path, timeout_s: float = 300.0) -> Opinion:
    """Ask the command; it gets a file in place of `{question}`, else as its last word, and answers on standard output.

    What is no opinion asks for a person, so that a reviewer who was talked round hides nothing; InfrastructureError
    when the command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    question = folder / "review.txt"
    write_atomically(question, _question(diff, flags))
    words = [word.replace(QUESTION, str(question)) for word in command]
    words += [] if any(QUESTION in word for word in command) else [str(question)]
    done = run_tethered(words, Place(folder, dict(os.environ), timeout_s))
    if done.timed_out or done.code != 0:
        how = f"took longer than {timeout_s:.0f} s" if done.timed_out else f"ended with {done.code}"
        raise InfrastructureError(f"the reviewer {how}: {(done.errors.strip() or 'it said nothing').splitlines()[-1]}")
    return _opinion(done.output)


def _question(diff: str, flags: Sequence[str]) -> str:
    """The instructions, and then one JSON document, out of whose strings nothing can break."""
    instructions = resources.files("vibeserve_loop").joinpath("prompts", "review.md").read_text(encoding="utf-8")
    cut = diff[:LONGEST_DIFF]
    data = {"flags": list(flags), "diff": cut, "characters_left_out": len(diff) - len(cut)}
    return f"{instructions}\n{json.dumps(data)}\n"


def _opinion(output: str) -> Opinion:
    try:
        return Opinion.model_validate_json(output.strip())
    except ValidationError:
        said = " ".join(output.split())[:200]
        return Opinion(ask="a person", why=f"the reviewer's answer is none of those it may give: {said}")
