"""What the loop writes down: the settings of a run, and one record a round."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_vibeserve.report import Check, Comparison, Hint, Measurement, OutcomeName

SCHEMA = 1
Kind = Literal["starter", "baseline", "work", "final"]
Ruling = Literal["accept", "reject", "void"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Settings(_Record):
    """How a run was asked for; `run.json`, written once."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str
    created: float = Field(description="seconds since 1970; commits are dated from it, so that they can be made again")
    target: str = Field(description="the target's folder")
    profile: str = "full"
    agent: str = "recipes"
    agent_options: tuple[tuple[str, str], ...] = ()
    policy: str = "plain"
    sandbox: str = "none"
    seed: int = 0
    max_rounds: int | None = None
    max_hours: float | None = None
    max_usd: float | None = None
    baselines: tuple[str, ...] = ()
    gate_command: tuple[str, ...] = Field(default=(), description="starts the gate; empty is this interpreter's pytest")


class Issue(_Record):
    """One thing that the profile complains about; weight 0 (nothing to gain) to 1."""

    name: str
    weight: float
    text: str = ""


class Task(_Record):
    """What one round is for, and the round whose code it starts from."""

    kind: Kind
    base: int = Field(default=0, description="number of the round that holds the code to start from")
    hypothesis: str = Field(default="", description="what should move, and how much; the gate can prove it wrong")
    issues: tuple[Issue, ...] = ()
    baseline: str = Field(default="", description="folder of the program to judge, for a baseline's round")


class Spend(_Record):
    """What an agent's session cost."""

    seconds: float = 0.0
    usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0


class AgentResult(_Record):
    """What an agent did in its session."""

    summary: str
    techniques: tuple[str, ...] = ()
    skipped: tuple[str, ...] = Field(default=(), description="tried on this base and found not to apply")
    exhausted: bool = Field(default=False, description="the agent knows nothing more to try on this base")
    spend: Spend = Spend()


class Assessment(_Record):
    """What the gate found, as far as later rounds need it; the whole is in the round's report.json."""

    outcome: OutcomeName
    reason: str
    depth: Literal["quick", "full"] = "quick"
    failed: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    comparison: Comparison | None = None
    hints: tuple[Hint, ...] = ()
    target_digest: str = ""
    tree: str = ""
    command: str = ""
    wall_s: float = 0.0

    @property
    def headline(self) -> Measurement | None:
        """The headline measurement, or None when nothing was measured."""
        return next((m for m in self.measurements if m.headline), None)


class Decision(_Record):
    """What became of the round; a void round says nothing about the code."""

    ruling: Ruling
    reason: str


class Round(_Record):
    """One line of `rounds.jsonl`."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    round: int
    task: Task
    commit: str = ""
    tree: str = ""
    work: AgentResult | None = None
    assessment: Assessment | None = None
    decision: Decision
    started: float
    wall_s: float


class Step(_Record):
    """A round has come to its next phase; shown, never kept."""

    round: int
    phase: Literal["propose", "edit", "build", "assess", "record"]
    text: str
