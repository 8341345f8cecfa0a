"""One level of load as `[[load]]` of a `target.toml` states it, with the latencies that its requests should keep."""

from __future__ import annotations

import re
from math import inf
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

RATES = {"output_throughput": "tok/s", "request_throughput": "req/s", "goodput": "req/s", "slo_attainment": "share"}
"""Metrics of a whole block, of which more is better, with their units."""
LATENCIES = ("ttft", "tpot", "itl", "e2e_latency", "queueing")
WHOLE = ("e2e_latency", "queueing")
"""Latencies that an answer without a stream has too."""
LATENCY = re.compile(rf"(?P<latency>{'|'.join(LATENCIES)})_p(?P<percentile>\d\d?(?:\.\d+)?)")
"""A latency at a percentile, as objectives name it: `ttft_p50`, in milliseconds."""
SPEED = re.compile(r"output_throughput_p(?P<percentile>\d\d?(?:\.\d+)?)")
"""A request's own output tokens per second of its end-to-end latency, at a percentile: `output_throughput_p50`."""
UNDER_SLO = ("goodput", "slo_attainment")
TAKES = {
    "closed": ("concurrency",),
    "constant": ("rate", "most_in_flight"),
    "poisson": ("rate", "most_in_flight"),
    "gamma": ("rate", "burstiness", "most_in_flight"),
    "trace": ("trace", "speedup", "most_in_flight"),
    "sessions": ("concurrency", "turns", "think"),
    "streams": ("concurrency",),
}
"""What each arrival is shaped by; a field of another one would change nothing, and is refused."""

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DURATION = re.compile(rf"\s*(\d+(?:\.\d+)?)\s*({'|'.join(UNITS)})\s*")


def seconds(stated: object) -> float:
    """Seconds of a duration with its unit, such as "200 ms"; ValueError, worded for the user, without one."""
    match = _DURATION.fullmatch(stated) if isinstance(stated, str) else None
    if match is None:
        raise ValueError('should be a number with its unit (us, ms, s or min), such as "200 ms"')
    found = float(match[1]) * UNITS[match[2]]
    if found == inf:
        raise ValueError("should be shorter than for ever")
    return found


def _ascending(lengths: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= lengths[0] <= lengths[1]:
        raise ValueError("should be [least, most], each at least 1")
    return lengths


def _above_nothing(duration: float) -> float:
    if not duration > 0:
        raise ValueError("should be longer than nothing")
    return duration


Lengths = Annotated[tuple[int, int], AfterValidator(_ascending)]
Duration = Annotated[float, BeforeValidator(seconds)]
Bound = Annotated[Duration, AfterValidator(_above_nothing)]


class Slo(BaseModel):
    """Latencies that a request should keep, as texts with a unit and kept in seconds; a request keeps all or none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttft: Bound | None = Field(default=None, description='time to the first token, such as "200 ms"')
    tpot: Bound | None = Field(default=None, description='mean time of each further token, such as "50 ms"')
    itl: Bound | None = Field(
        default=None, description='longest gap between two events, whatever the later carries, such as "100 ms"'
    )
    e2e_latency: Bound | None = Field(default=None, description='time to the whole answer, such as "5 s"')

    @property
    def bounds(self) -> tuple[tuple[str, float], ...]:
        """Each latency that is bounded, with its bound in seconds."""
        named = ((name, getattr(self, name)) for name in type(self).model_fields)
        return tuple((name, bound) for name, bound in named if bound is not None)


class Load(BaseModel):
    """One level of load: requests at a concurrency, on a schedule, from a trace, as sessions, or audio in real time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what objectives and tests call this load")
    arrival: Literal["closed", "constant", "poisson", "gamma", "trace", "sessions", "streams"] = Field(
        default="closed",
        description="closed loop, a schedule by `rate`, that of a trace, sessions, or audio streams in real time",
    )
    concurrency: int = Field(
        default=1, ge=1, description="requests in flight in a closed loop; sessions or streams at once"
    )
    rate: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="arrivals per second on a schedule")
    burstiness: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="shape of gamma arrivals: 1 is Poisson, less is burstier"
    )
    most_in_flight: int = Field(default=0, ge=0, description="cap on an open loop; what waits is queueing; 0 is no cap")
    trace: str = Field(
        default="",
        description="JSONL file of a trace, in the target's folder; each block of load replays the next window of it, "
        "of as many seconds as a block has, and after the last the first again",
    )
    speedup: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="how much faster a trace is replayed")
    turns: Lengths = Field(default=(2, 4), description="[least, most] turns of a session")
    think: Duration = Field(default=0.0, description='pause between an answer and the next turn, such as "500 ms"')
    slo: Slo = Field(default=Slo(), description='latencies to keep, with units: slo = { ttft = "200 ms" }')
    quick_s: float = Field(default=3.0, gt=0, allow_inf_nan=False, description="seconds of load in a quick gate")
    full_s: float = Field(default=10.0, gt=0, allow_inf_nan=False, description="seconds of load in a full gate")

    @property
    def is_open(self) -> bool:
        """Whether requests leave by a schedule, whatever became of earlier ones."""
        return self.arrival not in ("closed", "sessions", "streams")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.arrival == "trace" and not self.trace:
            raise ValueError('arrival = "trace" needs `trace`, a JSONL file in the target\'s folder')
        shaping = {field for fields in TAKES.values() for field in fields}
        own = TAKES[self.arrival]
        for field in type(self).model_fields:
            if field in shaping & self.model_fields_set and field not in own:
                takers = " or ".join(f'"{arrival}"' for arrival, fields in TAKES.items() if field in fields)
                raise ValueError(
                    f'`{field}` is given but arrival is "{self.arrival}", which takes {", ".join(own)}; '
                    f"leave it out or write arrival = {takers}"
                )
        return self
