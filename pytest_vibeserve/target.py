"""What is asked: `target.toml`, parsed and checked once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.coherence import check
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import find, nearest
from pytest_vibeserve.loads import Lengths
from pytest_vibeserve.loads import Load as Load
from pytest_vibeserve.mistakes import reasons

TARGET_FILE = "target.toml"
Scalar = bool | int | float | str
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Part):
    """The model that is served: a hub id with its revision, or a builder that makes the weights on first use."""

    id: str = Field(description="hub id, or a name for weights that are built")
    revision: str = Field(default="", description="hub commit; empty for built weights")
    builder: str = Field(default="", description="`file:function` in the target's folder that writes the model's files")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(description="precision of the weights as given")
    computed: Literal["", "float32", "bfloat16", "float16"] = Field(
        default="", description="precision that honest servers compute in; empty where it is that of the weights"
    )
    parameters: dict[str, Scalar] = Field(default_factory=dict, description="keyword arguments of the builder")

    @property
    def arithmetic(self) -> str:
        """The precision whose honest computations set the noise floor."""
        return self.computed or self.dtype


class Hardware(_Part):
    """The machine that the target is about."""

    backend: Literal["cpu", "cuda", "metal"] = Field(description="what the model runs on: cpu, cuda or metal")
    tuned_on: str = Field(description="the machine that the levels and limits were chosen on, in words")
    copy_gib: float = Field(
        default=0,
        ge=0,
        description="memory of the accelerator that one server or the reference takes; 0 is not looked at",
    )


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
    step_tokens: int = Field(
        default=16, ge=1, description="tokens that one event of a stream may carry: what a step and its drafts yield"
    )


class Mix(_Part):
    """One kind of request in the workload: its share and the ranges that its lengths are drawn from (inclusive)."""

    name: str = Field(description="what this kind of request is, in a word")
    weight: float = Field(gt=0, allow_inf_nan=False, description="its share of the requests, beside the others'")
    prompt_tokens: Lengths = Field(description="[least, most] tokens of a prompt, special tokens included")
    output_tokens: Lengths = Field(description="[least, most] tokens of an answer")
    shared_tokens: int = Field(
        default=0, ge=0, description="tokens that prompts of this kind which go together begin with alike"
    )


class Objective(_Part):
    """One thing that is measured at one load; the first objective of a target is its headline."""

    metric: str = Field(description="output_throughput, ttft_p50 and so on")
    load: str = Field(description="name of the load that it is measured at")
    direction: Literal["max", "min"] = Field(description="which way is better")
    unit: str = Field(description="unit of the metric: tok/s, req/s, ms or share")
    bound: Positive | None = Field(default=None, description="a value that must not be passed the wrong way")


class Audit(_Part):
    """How much is audited; requests per depth."""

    quick: int = Field(default=24, ge=4, description="requests of a quick audit")
    full: int = Field(default=2301, ge=8, description="requests of a full audit; the default sees a fault in 1 of 500")


class Chat(_Part):
    """What chats of a `chat-json` target carry; a `text` target may have a route for them beside its completions."""

    beside_completions: bool = Field(default=False, description="a `text` target that serves chats too")

    schemas: bool = Field(default=True, description="chats constrain the answer by a JSON Schema")
    constrained: float = Field(default=0.5, gt=0, le=1, description="share of the chats that do, where they do")
    predictions: bool = Field(default=False, description="clients send a `prediction`, which must change nothing")
    whitespace: Literal["compact", "spaced", "any"] = Field(
        default="compact", description='constrained JSON: none, as in {"a": 1, "b": 2}, or wherever JSON allows it'
    )


class Speech(_Part):
    """What is said to a `speech` target, and how it is heard."""

    sample_rate: int = Field(default=16_000, ge=1000, description="samples per second of all audio")
    seconds: tuple[Positive, Positive] = Field(default=(1.0, 4.0), description="[least, most] seconds of a clip")
    chunk_s: Positive = Field(default=0.5, description="seconds of audio in one frame of a stream")
    streams: int = Field(
        default=0, ge=0, description="WebSocket streams served at once; 0 where there is no such route"
    )
    partials: bool = Field(default=True, description="partial transcripts are audited on the audio that they are of")


class Image(_Part):
    """What an `image` target draws."""

    size: tuple[Side, Side] = Field(default=(64, 64), description="[width, height] of an image in pixels")
    noise: tuple[Side, Side, Side] = Field(
        default=(4, 8, 8), description="shape of the initial noise: channels, rows, columns"
    )
    steps: Lengths = Field(default=(8, 20), description="[least, most] steps that a request asks for")
    guidance: tuple[NotNegative, ...] = Field(default=(1.0, 5.0), min_length=1, description="guidance scales asked for")
    format: Literal["png", "npy"] = Field(default="png", description="how images come back")


class Target(_Part):
    """A target as its `target.toml` states it, for one profile."""

    schema_: Literal[1] = Field(alias="schema", description="write schema = 1")
    name: str = Field(description="the target's name, in snake_case like its folder")
    summary: str = Field(default="", description="the target in one line")
    modality: Literal["text", "chat-json", "speech", "image"] = Field(description="text, chat-json, speech or image")
    model: Model = Field(description="write [model] with id, dtype, and either revision or builder")
    hardware: Hardware = Field(description="write [hardware] with backend and tuned_on")
    rules: Rules = Field(default=Rules(), description="what a candidate may do")
    limits: Limits = Field(default=Limits(), description="what a candidate must live within")
    mix: tuple[Mix, ...] = Field(min_length=1, description="write [[mix]] once for each kind of request")
    load: tuple[Load, ...] = Field(min_length=1, description="write [[load]] once for each level of load")
    objective: tuple[Objective, ...] = Field(min_length=1, description="write [[objective]] for each, headline first")
    audit: Audit = Field(default=Audit(), description="how much is audited")
    chat: Chat = Field(default=Chat(), description="what chats carry, where there are any")
    speech: Speech = Field(default=Speech(), description="what is said, where modality is speech")
    image: Image = Field(default=Image(), description="what is drawn, where modality is image")
    folder: Path = Field(default=Path(), exclude=True, description="where target.toml lies")
    profile: str = Field(default="full", description="the profile that these values are of")

    @property
    def headline(self) -> Objective:
        """The objective that decides what counts as a gain."""
        return self.objective[0]

    @property
    def shared_tokens(self) -> int:
        """The longest beginning that its prompts share, in tokens; 0 where they share none."""
        return max(mix.shared_tokens for mix in self.mix)

    @property
    def starter_folder(self) -> Path:
        """The candidate that a search begins with."""
        return self.folder / "starter"

    @property
    def own_candidates(self) -> dict[str, Path]:
        """The candidates that come with the target, by name: its starter and its baselines."""
        found = {path.parent.name: path.parent for path in sorted(self.folder.glob("baselines/*/candidate.toml"))}
        if (self.starter_folder / "candidate.toml").is_file():
            found["starter"] = self.starter_folder
        return found

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
    if not isinstance(profiles, dict) or not all(isinstance(over, dict) for over in profiles.values()):
        raise UsageError(f"{path}: profiles: write tables such as [profiles.tiny.model]")
    if profile != "full":
        if profile not in profiles:
            raise UsageError(f"{path}: no profile {profile!r}; {nearest(profile, ['full', *profiles])}")
        table = _overlaid(table, profiles[profile])
    try:
        target = Target.model_validate({**table, "folder": folder, "profile": profile})
    except ValidationError as error:
        raise UsageError(f"{path}: {reasons(error, Target)}") from None
    check(target, path)
    return target


def _overlaid(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
