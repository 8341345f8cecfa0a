"""What a gate leaves behind: `report.json`, read by the loop, by CI and by people."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_vibeserve.errors import ExitCode, InfrastructureError, UsageError
from pytest_vibeserve.insight import Insight

SCHEMA = 1
Result = Literal["pass", "fail", "inconclusive", "skip"]
Relation = Literal["dominates", "dominated", "incomparable", "not shown"]
OutcomeName = Literal["accepted", "rejected", "inconclusive", "infrastructure", "nothing"]
EXITS: dict[OutcomeName, ExitCode] = {
    "accepted": ExitCode.ACCEPTED,
    "rejected": ExitCode.REJECTED,
    "inconclusive": ExitCode.INCONCLUSIVE,
    "infrastructure": ExitCode.INFRASTRUCTURE,
    "nothing": ExitCode.NOTHING,
}


class _Record(BaseModel):
    # JSON has no infinity and no NaN; as strings they are read back as the floats that they were.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Check(_Record):
    """One property that was looked at: what was measured, against which limit, and how it ended."""

    name: str
    result: Result
    statistic: float | None = None
    threshold: float | None = None
    unit: str = ""
    detail: str = ""
    example: str = Field(default="", description="one burned example; its seed is retired")


class Measurement(_Record):
    """One metric at one load: value, 95 % interval, and the samples (one a repeat) behind them."""

    metric: str
    load: str
    value: float
    low: float
    high: float
    unit: str
    direction: Literal["max", "min"]
    headline: bool = False
    samples: tuple[float, ...] = ()
    ceiling_share: float | None = None


class Hint(_Record):
    """One thing the profile says: a named ratio and what it means."""

    name: str
    value: float
    text: str


class Distribution(_Record):
    """All requests of a load by one latency (of `itl`: all gaps): counts over bins that grow by a fixed ratio.

    Bin k holds what lies from `first` * `ratio`**k on and below the next; what took for ever is `unanswered`.
    """

    latency: str
    load: str
    first: float = Field(description="lower end of the first bin, in milliseconds")
    ratio: float
    counts: tuple[int, ...]
    unanswered: int = 0


class Ceiling(_Record):
    """A bound that physics sets on a metric at a load, and how it was worked out."""

    metric: str
    load: str
    value: float
    unit: str
    derivation: str


class Gain(_Record):
    """Candidate against baseline on one objective: a ratio with its interval, above 1 is better."""

    metric: str
    load: str = Field(default="", description="the load that it is at; empty in older reports: the comparison's own")
    gain: float
    low: float
    high: float
    conclusion: Literal["better", "worse", "no difference shown"]


class Conditions(_Record):
    """What the machine was like during a comparison, by looks between its blocks."""

    canary_drift: float = Field(description="largest distance of a fixed piece of work from its median, as a share")
    pressure: float | None = Field(default=None, description="share of the time in which some task waited for a core")
    foreign: float = Field(default=0.0, description="largest share of all cores that other programs took in a block")
    clock_mhz: tuple[float, float] | None = Field(default=None, description="slowest and fastest clock seen")


class Comparison(_Record):
    """Candidate against baseline on the headline, measured interleaved; `gain` is a ratio, above 1 is better."""

    baseline: str
    baseline_tree: str
    metric: str
    load: str
    gain: float
    low: float
    high: float
    pairs: int
    conclusion: Literal["better", "worse", "no difference shown"]
    baseline_value: float
    candidate_value: float
    unit: str
    ratios: tuple[float, ...] = Field(default=(), description="one for each ABBA or BAAB, which is two pairs of blocks")
    confidence: float = Field(default=0.95, description="of the interval, over all looks at it together")
    noise: float | None = Field(default=None, description="standard deviation of a block's logarithm, by equal blocks")
    dropped: int = Field(
        default=0, description="pairs that do not count because the machine was not the same throughout"
    )
    unsteady: int = Field(default=0, description="pairs that count although it was not: most of the first were such")
    ended: Literal["decided", "out of reach", "pairs spent", "time spent"] = "pairs spent"
    conditions: Conditions | None = None
    objectives: tuple[Gain, ...] = Field(
        default=(), description="every objective that was compared, the headline first, those of other loads last"
    )
    relation: Relation | None = Field(default=None, description="by all objectives that were compared")
    relation_here: Relation | None = Field(default=None, description="by those at the comparison's own load only")
    not_compared: tuple[str, ...] = Field(default=(), description="loads with objectives that nothing is said of")

    @property
    def standing(self) -> str:
        """Which of the two dominates, on how many objectives at which loads, and where nothing was compared.

        Empty where the headline is the only objective of the target.
        """
        loads = dict.fromkeys(gain.load or self.load for gain in self.objectives)
        here = sum((gain.load or self.load) == self.load for gain in self.objectives)
        others = [load for load in loads if load != self.load]
        if here <= 1 and not others and not self.not_compared:
            return ""
        said = [f"{_stands(self.relation_here or self.relation)} at {self.load} ({_counted(here)})"]
        if others:
            said.append(f"{_stands(self.relation)} with {', '.join(others)} ({_counted(len(self.objectives))})")
        if self.not_compared:
            said.append(f"{', '.join(self.not_compared)} not compared")
        return "; ".join(said)

    def on(self, metric: str, load: str) -> Gain | None:
        """The gain on one objective; None where it was not compared."""
        return next((g for g in self.objectives if (g.metric, g.load or self.load) == (metric, load)), None)


def _stands(found: Relation | None) -> str:
    return "neither is shown to dominate" if found in (None, "not shown") else str(found)


def _counted(objectives: int) -> str:
    return f"{objectives} objective{'s' if objectives != 1 else ''}"


class TargetPart(_Record):
    """Which target was judged, by content; for a model of the hub also the commit that its revision stood for."""

    name: str
    profile: str
    digest: str
    suite_digest: str
    model_commit: str = ""


class CandidatePart(_Record):
    """Which candidate was judged, by content; the tree hash is taken before and after."""

    path: str
    tree: str
    tree_after: str = ""


class Seed(_Record):
    """The secret of the prompts: its sha256 before the run, itself after it."""

    commitment: str
    reveal: str


class Environment(_Record):
    """Where the gate ran."""

    isolation: str
    platform: str
    cpu: str
    cores: int
    memory_gib: float
    python: str
    packages: dict[str, str] = {}
    gate: str = ""


class Verdict(_Record):
    """Accepted or not, why, and every check behind it."""

    outcome: OutcomeName
    reason: str
    provisional: bool = False
    checks: tuple[Check, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The gate's exit code for this outcome."""
        return EXITS[self.outcome]


class Report(_Record):
    """Everything that one gate found, with the command that does it again."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    target: TargetPart
    candidate: CandidatePart
    depth: Literal["quick", "full"]
    seed: Seed
    environment: Environment
    verdict: Verdict
    measurements: tuple[Measurement, ...] = ()
    comparison: Comparison | None = None
    beside: tuple[Comparison, ...] = Field(default=(), description="short comparisons at the other loads")
    distributions: tuple[Distribution, ...] = ()
    hints: tuple[Hint, ...] = ()
    insight: Insight | None = Field(default=None, description="of the profiled pass, which is apart from all measured")
    ceilings: tuple[Ceiling, ...] = ()
    tests: tuple[str, ...] = Field(default=(), description="node ids that ran")
    expected: tuple[str, ...] = Field(default=(), description="node ids that were collected to run")
    skipped: tuple[str, ...] = Field(default=(), description="node ids that ran and were skipped")
    wall_s: float = 0.0
    started: str = ""
    command: str = ""
    nonce: str = ""

    @property
    def headline(self) -> Measurement | None:
        """The headline measurement, or None when nothing was measured."""
        return next((m for m in self.measurements if m.headline), None)


def read_report(path: Path) -> Report:
    """A report from its file; InfrastructureError when missing or torn, UsageError when of a newer schema."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InfrastructureError(f"the gate left no report at {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InfrastructureError(f"{path} is not a whole report: {error}") from None
    found = table.get("schema") if isinstance(table, dict) else None
    if isinstance(found, int) and found > SCHEMA:
        raise UsageError(f"{path} has schema {found}, this version reads up to {SCHEMA}: update pytest-vibeserve")
    try:
        return Report.model_validate(table)
    except ValidationError as error:
        raise InfrastructureError(f"{path} is not a report: {error.errors()[0]['msg']}") from None


def write_report(report: Report, path: Path) -> None:
    """Write atomically: a reader sees the whole report or the one before it."""
    write_atomically(path, report.model_dump_json(indent=1, by_alias=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text in one step, flushed to the disk first; InfrastructureError when the disk refuses."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; make it writable and run again") from error
