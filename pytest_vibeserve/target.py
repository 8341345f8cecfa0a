"""What is asked: `target.toml`, parsed and checked once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import find, nearest

TARGET_FILE = "target.toml"
Scalar = bool | int | float | str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Part):
    """The model that is served: a hub id with its revision, or a builder that makes the weights on first use."""

    id: str = Field(description="hub id, or a name for weights that are built")
    revision: str = Field(default="", description="hub commit; empty for built weights")
    builder: str = Field(default="", description="`file:function` in the target's folder that writes the model's files")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(description="precision of the weights as given")
    parameters: dict[str, Scalar] = Field(default_factory=dict, description="keyword arguments of the builder")


class Hardware(_Part):
    """The machine that the target is about."""

    backend: Literal["cpu", "cuda", "metal"] = Field(description="what the model runs on")
    tuned_on: str = Field(description="the machine that the levels and limits were chosen on, in words")


class Rules(_Part):
    """What a candidate may do; false forbids it and the gate looks for it."""

    quantization: bool = Field(default=False, description="weights or caches below 16 bit")
    speculation: bool = Field(default=True, description="drafts, verified so that the answers stay the model's own")
    prefix_cache: bool = Field(default=True, description="keys and values of earlier prompts used again")
    response_cache: bool = Field(default=False, description="answers of earlier requests given again")


class Limits(_Part):
    """What a candidate must live within."""

    startup_s: float = Field(default=120, gt=0, description="longest time from start to ready")
    wall_s: float = Field(default=900, gt=0, description="longest time that one gate may take")
    memory_gib: float = Field(default=6, gt=0, description="resident memory of all the candidate's processes")
    longest_wait_s: float = Field(default=60, gt=0, description="longest time that one request may take")
    concurrency: int = Field(default=16, ge=1, description="requests that must be served at the same time")
    context: int = Field(default=1024, ge=16, description="tokens of prompt and answer together")


class Mix(_Part):
    """One kind of request in the workload: its share and the ranges that its lengths are drawn from (inclusive)."""

    name: str
    weight: float = Field(gt=0)
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]


class Load(_Part):
    """One level of load: closed loop at a concurrency, or open loop with Poisson arrivals at a rate per second."""

    name: str
    arrival: Literal["closed", "poisson"] = "closed"
    concurrency: int = Field(default=1, ge=1)
    rate: float = Field(default=1.0, gt=0)
    quick_s: float = Field(default=3.0, gt=0, description="seconds of load in a quick gate")
    full_s: float = Field(default=10.0, gt=0, description="seconds of load in a full gate")


class Objective(_Part):
    """One thing that is measured at one load; the first objective of a target is its headline."""

    metric: str
    load: str
    direction: Literal["max", "min"]
    unit: str
    bound: float | None = Field(default=None, description="a value that must not be passed the wrong way")


class Audit(_Part):
    """How much is audited; requests per depth."""

    quick: int = Field(default=24, ge=4)
    full: int = Field(default=160, ge=8)


class Target(_Part):
    """A target as its `target.toml` states it, for one profile."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    summary: str = ""
    modality: Literal["text", "chat-json", "speech", "image"]
    model: Model
    hardware: Hardware
    rules: Rules = Rules()
    limits: Limits = Limits()
    mix: Annotated[tuple[Mix, ...], Field(min_length=1)]
    load: Annotated[tuple[Load, ...], Field(min_length=1)]
    objective: Annotated[tuple[Objective, ...], Field(min_length=1)]
    audit: Audit = Audit()
    folder: Path = Field(default=Path(), exclude=True)
    profile: str = "full"

    @property
    def headline(self) -> Objective:
        """The objective that decides what counts as a gain."""
        return self.objective[0]

    def load_named(self, name: str) -> Load:
        """The load of that name; UsageError lists the others."""
        for load in self.load:
            if load.name == name:
                return load
        raise UsageError(f"{self.name} has no load {name!r}; {nearest(name, [load.name for load in self.load])}")


def load_target(name: str, profile: str = "full") -> Target:
    """The target of that name or path under a profile; UsageError names the field and what it should be."""
    folder = find("targets", name, TARGET_FILE)
    path = folder / TARGET_FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    profiles = table.pop("profiles", {})
    if profile != "full":
        if profile not in profiles:
            raise UsageError(f"{path}: no profile {profile!r}; {nearest(profile, ['full', *profiles])}")
        table = _overlaid(table, profiles[profile])
    try:
        target = Target.model_validate({**table, "folder": folder, "profile": profile})
    except ValidationError as error:
        raise UsageError(f"{path}: {_reasons(error)}") from None
    _check(target, path)
    return target


def _check(target: Target, path: Path) -> None:
    for objective in target.objective:
        target.load_named(objective.load)
    if bool(target.model.builder) == bool(target.model.revision):
        raise UsageError(f"{path}: model: give either `builder` or `revision` (with a hub `id`), not both or neither")
    longest = max(mix.prompt_tokens[1] + mix.output_tokens[1] for mix in target.mix)
    if longest > target.limits.context:
        raise UsageError(f"{path}: mix asks for up to {longest} tokens, but limits.context is {target.limits.context}")


def _overlaid(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _reasons(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        field = ".".join(str(part) for part in fault["loc"]) or "(top level)"
        lines.append(f"{field}: {fault['msg']}, found {fault['input']!r}"[:300])
    return "; ".join(lines)
