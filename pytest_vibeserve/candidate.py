"""What answers: a folder with a `candidate.toml`, parsed and checked once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pytest_vibeserve.errors import CandidateFailure, UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.source_tree import faults, tree_digest

__all__ = ["CANDIDATE_FILE", "Build", "Candidate", "Serve", "load_candidate", "stated_needs", "tree_digest"]

CANDIDATE_FILE = "candidate.toml"
PLACEHOLDERS = ("model", "host", "port")
EXAMPLES = {
    "schema": "schema = 1",
    "serve": '[serve] with command = ["python", "server.py", "{model}", "{host}", "{port}"] and ready = "/health"',
    "serve.command": 'command = ["python", "server.py", "--model", "{model}", "--host", "{host}", "--port", "{port}"]',
    "serve.ready": 'ready = "/health"',
    "serve.startup_timeout_s": "startup_timeout_s = 120",
    "build": '[build] with command = ["make"]',
    "build.command": 'command = ["make"]',
    "build.timeout_s": "timeout_s = 600",
}

_Word = Annotated[str, Field(pattern=r"^[^\x00]+$")]
_Command = Annotated[tuple[_Word, ...], Field(strict=False, min_length=1)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Serve(_Part):
    """How the server is started, and the route that answers 200 once requests can be served."""

    command: _Command
    ready: str
    startup_timeout_s: _Seconds | None = Field(default=None, description="None: the target's own limit")

    @field_validator("command")
    @classmethod
    def _placeholders_known(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        used = _placeholders(command)
        for name in used:
            if name not in PLACEHOLDERS:
                raise ValueError(f"unknown placeholder {{{name}}}; {nearest(name, PLACEHOLDERS)}")
        if "port" not in used:
            raise ValueError("must hold {port}: the gate chooses where to listen")
        return command

    @field_validator("ready")
    @classmethod
    def _ready_is_a_path(cls, ready: str) -> str:
        if not re.fullmatch(r"/[!-~]*", ready):
            raise ValueError("must be a path that begins with / and holds no spaces")
        return ready

    def command_line(self, model: str, host: str, port: int) -> tuple[str, ...]:
        """The command with its placeholders filled in."""
        values = {"model": model, "host": host, "port": str(port)}
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in self.command)


class Build(_Part):
    """How what is not source is made, before the first start."""

    command: _Command
    timeout_s: _Seconds = 600.0

    @field_validator("command")
    @classmethod
    def _no_placeholders(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        known = [name for name in _placeholders(command) if name in PLACEHOLDERS]
        if known:
            raise ValueError(f"{{{known[0]}}} is for serve.command only: a build sees neither the model nor a network")
        return command


class _CandidateFile(_Part):
    schema_: Annotated[int, Field(ge=1, le=1)] = Field(alias="schema")
    serve: Serve
    build: Build | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checked candidate; `digest` is that of its folder at the time of reading."""

    folder: Path
    serve: Serve
    build: Build | None
    digest: str


def load_candidate(folder: Path) -> Candidate:
    """Read and check a candidate; CandidateFailure names file and field, UsageError: no such folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give --vibeserve-candidate the folder that holds {CANDIDATE_FILE}")
    parsed = _validated(_table(folder / CANDIDATE_FILE))
    found = list(islice(faults(folder, parsed.build is not None), 5))
    if found:
        raise CandidateFailure("candidate", "; ".join(found))
    return Candidate(folder.resolve(), parsed.serve, parsed.build, tree_digest(folder))


def stated_needs(folder: Path) -> str:
    """What a baseline's README.md says that it **Needs**, as the rest of a message; "" where it says nothing."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r"\*\*Needs\*\*(.*?)(\n\s*\n|\Z)", text, re.DOTALL)
    return f"\nIt needs {' '.join(found[1].split())}" if found else ""


def _table(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        raise CandidateFailure("candidate", f"no {CANDIDATE_FILE} in {path.parent}: write one with {EXAMPLES['serve']}")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CandidateFailure("candidate", f"{CANDIDATE_FILE}: not UTF-8 at byte {error.start}: save it so") from None
    except tomllib.TOMLDecodeError as error:
        raise CandidateFailure("candidate", _located(str(error), path)) from None


def _located(message: str, path: Path) -> str:
    """`file:line:column: reason`, from a TOML message that ends with its place in words."""
    reason, _, place = message.rpartition(" (at ")
    numbers = re.findall(r"\d+", place)
    if len(numbers) == 2:
        return f"{CANDIDATE_FILE}:{numbers[0]}:{numbers[1]}: {reason}"
    lines = path.read_text(encoding="utf-8").splitlines() or [""]
    return f"{CANDIDATE_FILE}:{len(lines)}:{len(lines[-1]) + 1}: {reason}"


def _validated(table: dict[str, Any]) -> _CandidateFile:
    try:
        return _CandidateFile.model_validate(table)
    except ValidationError as error:
        reasons = [_reason(fault["type"], fault["loc"], fault["msg"], fault["input"]) for fault in error.errors()]
        raise CandidateFailure("candidate", "; ".join(f"{CANDIDATE_FILE}: {reason}" for reason in reasons)) from None


def _reason(kind: str, location: tuple[int | str, ...], message: str, found: object) -> str:
    names = [str(part) for part in location if isinstance(part, str)]
    field = ".".join(names)
    instead = f"write {EXAMPLES[field]}" if field in EXAMPLES else "remove it"
    if kind == "missing":
        return f"{field} is missing: {instead}"
    if kind == "extra_forbidden":
        above = ".".join([*names[:-1], ""])
        known = [name.removeprefix(above) for name in EXAMPLES if name.startswith(above)]
        return f"{field} is no known field; {nearest(names[-1], [name for name in known if '.' not in name])}"
    return f"{field}: {message.removeprefix('Value error, ')}, found {found!r}"[:400] + f"; {instead}"


def _placeholders(command: tuple[str, ...]) -> list[str]:
    return [name for word in command for name in _PLACEHOLDER.findall(word)]
