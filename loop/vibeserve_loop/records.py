"""What the loop writes down: the settings of a run, and one record a round."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_vibeserve.insight import Insight
from pytest_vibeserve.report import Check, Comparison, Hint, Measurement, OutcomeName
from vibeserve_loop.proposals import Answer, Item, Proposal

SCHEMA = 1
MOST_SPENT = 2**53
"""Of what any program reads again as the number that it was, in JSON too."""
Kind = Literal["starter", "baseline", "work", "final", "plan", "order"]
Ruling = Literal["accept", "reject", "void", "pending"]
"""`pending` is never recorded: it stands for a round that is under way beside the one that is proposed."""
Verb = Literal["pause", "resume", "stop", "budget", "steer", "issue"]


def plain(record: BaseModel) -> Any:
    """A record as JSON knows it: of numbers that JSON does not have, the name, or nothing."""
    return json.loads(record.model_dump_json(by_alias=True))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Knobs(_Record):
    """The search's own settings; a policy reads those that concern it."""

    max_retries_per_round: int = Field(default=3, ge=1, description="agent: attempts at one hypothesis")
    max_attempts_per_issue: int = Field(default=3, ge=1, description="plain: rounds on one issue before it is blocked")
    max_issues_per_eval: int = Field(default=8, ge=1, description="plain: issues that one evaluation may file")
    patience: int = Field(default=8, ge=1, description="agent, evolve: judged rounds without a gain before it stops")
    frontier_bias: float = Field(
        default=0.7, ge=0, le=1, description="evolve: chance of a parent from the Pareto front"
    )
    temperature: float = Field(default=0.5, gt=0, description="evolve: of the softmax over parents")
    top_inspirations: int = Field(default=2, ge=0, description="evolve: best others shown to the agent")
    random_inspirations: int = Field(default=2, ge=0, description="evolve: other others shown to the agent")
    islands: int = Field(default=1, ge=1, description="evolve: populations that mix only now and then")
    migrate_every: int = Field(default=10, ge=1, description="evolve: rounds between migrations")
    novelty: float = Field(default=1.0, gt=0, le=1, description="likeness of source from which code counts as tried")
    quick_gates: int = Field(default=8, ge=0, description="quick gates that one session of an agent may ask for")
    full_gates: int = Field(default=1, ge=0, description="full gates that one session of an agent may ask for")
    objectives: tuple[str, ...] = Field(
        default=(), description="evolve: `metric[@load]:max|min`; empty is the target's"
    )


class AgentChoice(_Record):
    """An agent by name with its options; several in one run are arms of a bandit."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The name with its options, as it was given."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options)])


class Budget(_Record):
    """What a run may use up; None is no limit."""

    max_rounds: int | None = None
    max_hours: float | None = None
    max_usd: float | None = None
    max_tokens: int | None = None


class Settings(_Record):
    """How a run was asked for; `run.json`, written once."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str
    created: float = Field(description="seconds since 1970; commits are dated from it, so that they can be made again")
    target: str = Field(description="the target's folder")
    profile: str = "full"
    agent: str = "recipes"
    agent_options: tuple[tuple[str, str], ...] = ()
    more_agents: tuple[AgentChoice, ...] = ()
    planner: AgentChoice | None = Field(
        default=None, description="who plans for the agent policy; None is its own rule"
    )
    policy: str = "plain"
    knobs: Knobs = Knobs()
    sandbox: str = "none"
    strict: bool = Field(default=False, description="accept nothing that ran unisolated")
    seed: int = 0
    workers: int = Field(default=1, ge=1, description="rounds under way at the same time")
    devices: tuple[str, ...] = Field(default=(), description="cores or GPUs, each for one gate; empty is the machine")
    executor: str = Field(default="", description="where gates run; empty is this machine")
    max_rounds: int | None = None
    max_hours: float | None = None
    max_usd: float | None = None
    max_tokens: int | None = None
    baselines: tuple[str, ...] = ()
    gate_command: tuple[str, ...] = Field(default=(), description="starts the gate; empty is this interpreter's pytest")
    reviewer: tuple[str, ...] = Field(default=(), description="reads each change before its gate; empty is nobody")

    @property
    def agents(self) -> tuple[AgentChoice, ...]:
        """Everybody who may edit, the first first."""
        return AgentChoice(name=self.agent, options=self.agent_options), *self.more_agents

    @property
    def budget(self) -> Budget:
        """The limits that the run began with; orders may have changed them since."""
        return Budget(
            max_rounds=self.max_rounds, max_hours=self.max_hours, max_usd=self.max_usd, max_tokens=self.max_tokens
        )


class Issue(_Record):
    """One thing that the profile complains about; weight 0 (nothing to gain) to 1."""

    name: str
    weight: float
    text: str = ""


class Order(_Record):
    """What a person asks of a run that is under way."""

    verb: Verb
    text: str = ""
    limits: tuple[tuple[str, float | None], ...] = Field(default=(), description="new budgets; None lifts one")
    item: Item | None = None


class Share(_Record):
    """The most that one session may spend of what a run has left for several at once; None is no limit."""

    usd: float | None = None
    tokens: int | None = None


class Task(_Record):
    """What one round is for, and the round whose code it starts from."""

    kind: Kind
    base: int = Field(default=0, description="the round whose code the result is measured against")
    start: int | None = Field(default=None, description="the round whose refused code is mended; None starts from base")
    hypothesis: str = Field(default="", description="what should move, and how much; the gate can prove it wrong")
    issues: tuple[Issue, ...] = ()
    attempt: int = 1
    proposal: Proposal | None = None
    techniques: tuple[str, ...] = Field(default=(), description="what to apply, where the policy names it")
    inspirations: tuple[int, ...] = Field(default=(), description="other rounds whose code may be learned from")
    island: int = 0
    agent: str = Field(default="", description="label of the agent; empty is the run's first")
    orders: tuple[Order, ...] = ()
    baseline: str = Field(default="", description="folder of the program to judge, for a baseline's round")
    seen: int | None = Field(default=None, description="rounds recorded when it was given out beside others")
    alpha: float | None = Field(default=None, description="chance of a wrong `better`, fixed when given out so")
    share: Share | None = Field(
        default=None, description="the most that its session may spend, fixed when given out so"
    )


class Spend(_Record):
    """What an agent's session cost."""

    seconds: float = Field(default=0.0, ge=0, le=MOST_SPENT)
    usd: float = Field(default=0.0, ge=0, le=MOST_SPENT)
    tokens_in: int = Field(default=0, ge=0, le=MOST_SPENT)
    tokens_out: int = Field(default=0, ge=0, le=MOST_SPENT)


class AgentResult(_Record):
    """What an agent did in its session."""

    summary: str
    techniques: tuple[str, ...] = ()
    skipped: tuple[str, ...] = Field(default=(), description="tried on this base and found not to apply")
    exhausted: bool = Field(default=False, description="the agent knows nothing more to try on this base")
    failed: str = Field(default="", description="why the session counts for nothing; its cost does")
    gates: int = Field(default=0, description="gates that it asked the broker for, those from the cache left out")
    spend: Spend = Spend()


class Opinion(_Record):
    """What a reviewer may say of a change; there is no word for accepting and none for refusing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ask: Literal["nothing", "more probes", "a person"]
    why: str = Field(default="", max_length=400)


class Assessment(_Record):
    """What the gate found, as far as later rounds need it; the whole is in the round's report.json."""

    outcome: OutcomeName
    reason: str
    depth: Literal["quick", "full"] = "quick"
    failed: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    comparison: Comparison | None = None
    hints: tuple[Hint, ...] = ()
    insight: Insight | None = None
    target_digest: str = ""
    tree: str = ""
    command: str = ""
    opinion: Opinion | None = Field(default=None, description="the reviewer's, who had no part in the outcome")
    wall_s: float = 0.0

    @property
    def needs_person(self) -> str:
        """Why a person should look at the change; "" when nobody asked for one."""
        return self.opinion.why or "no reason given" if self.opinion and self.opinion.ask == "a person" else ""

    @property
    def headline(self) -> Measurement | None:
        """The headline measurement, or None when nothing was measured."""
        return next((m for m in self.measurements if m.headline), None)


class Decision(_Record):
    """What became of the round; a void round says nothing about the code."""

    ruling: Ruling
    reason: str


class Sketch(_Record):
    """What source code looks like once layout and comments are gone: a digest, and a sample of its pieces."""

    digest: str
    pieces: tuple[int, ...] = ()


class Round(_Record):
    """One line of `rounds.jsonl`."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    round: int
    task: Task
    commit: str = ""
    tree: str = ""
    work: AgentResult | None = None
    assessment: Assessment | None = None
    answer: Answer | None = Field(default=None, description="the planner's, in a plan's round")
    sketch: Sketch | None = None
    decision: Decision
    started: float
    wall_s: float
    elapsed_s: float | None = Field(default=None, description="by how much it moved the clock, beside other rounds")


class Step(_Record):
    """A round has come to its next phase; shown, never kept."""

    round: int
    phase: Literal["propose", "edit", "build", "assess", "record"]
    text: str
