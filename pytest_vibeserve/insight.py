"""What a profiled pass saw inside a candidate, as the report keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Gap(_Record):
    """Time in which no step of the model ran, by its cause, as a share of the wall."""

    cause: str
    share: float
    longest_ms: float


class Operator(_Record):
    """One operator or kernel: its share of the wall, its calls a second, and the share of its roofline where known."""

    name: str
    share: float
    calls_per_s: float
    roofline: float | None = None


class Hypothesis(_Record):
    """What could be done, the hint that it relieves, and by how much the headline could rise at the most."""

    relieves: str
    gain: float
    text: str


class Insight(_Record):
    """What a separate profiled pass saw inside a candidate, in at most 2 kB of JSON; shares are of the wall.

    `prefill`, `decode`, `host` and `idle` add up to 1; the first two are None where steps could not be told apart.
    """

    load: str
    seconds: float = Field(description="of the load that the shares speak of")
    took_s: float = Field(default=0.0, description="of the whole pass, start and end of the server included")
    sources: tuple[str, ...] = ()
    prefill: float | None = None
    decode: float | None = None
    host: float | None = None
    idle: float | None = None
    busy: float | None = Field(default=None, description="share of all cores used, or of the time a device computed")
    launch_bound: float | None = Field(
        default=None, description="share of the steps' time in which no operator without another below it ran"
    )
    gaps: tuple[Gap, ...] = ()
    operators: tuple[Operator, ...] = ()
    functions: tuple[tuple[str, float], ...] = Field(default=(), description="Python functions by share of samples")
    occupancy: tuple[float, ...] = Field(default=(), description="streams in a decoding step, over eighths of the time")
    gains: tuple[tuple[str, float], ...] = Field(default=(), description="by hint, how much the headline could rise")
    hypotheses: tuple[Hypothesis, ...] = ()
    memory_mb: float | None = Field(default=None, description="a device's peak, by the framework's own counter")
    notes: tuple[str, ...] = Field(default=(), description="what could not be looked at, and why")
