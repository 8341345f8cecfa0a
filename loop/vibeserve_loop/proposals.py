"""What a planner writes down: issues of the backlog, and one falsifiable hypothesis a round."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

State = Literal["open", "in_progress", "done", "parked", "blocked", "abandoned"]
SHORTEST_REASON = 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Item(_Record):
    """One optimisation issue of the backlog; what was seen of it is derived from the rounds."""

    id: str = Field(min_length=1, description="a short name, unique in the run")
    title: str = ""
    state: State = "open"
    mechanism: str = Field(default="", description="why it should help")
    relieves: tuple[str, ...] = Field(default=(), description="the hints that it is about")
    weight: float = Field(default=0.0, description="what there is to gain, 0 to 1")
    reason: str = Field(default="", description="why it was parked, blocked or abandoned")
    source: Literal["hint", "planner", "person"] = "planner"
    evidence: tuple[str, ...] = Field(default=(), description="what rounds showed; derived")

    @model_validator(mode="after")
    def _explained(self) -> Item:
        if self.state in ("parked", "blocked", "abandoned") and len(self.reason) < SHORTEST_REASON:
            raise ValueError(
                f"{self.id}: say in `reason` why it is {self.state} ({SHORTEST_REASON} characters or more)"
            )
        return self


class Expectation(_Record):
    """What a hypothesis says will move: the factor of improvement (above 1 is better) of a metric at a load."""

    metric: str
    load: str = ""
    at_least: float = Field(gt=0)


class Proposal(_Record):
    """One falsifiable hypothesis with its pass criteria, and what it changes on the backlog."""

    issue: str = Field(min_length=1, description="id of the backlog's issue that this is about")
    hypothesis: str = Field(min_length=1, description="what moves, by how much, by which mechanism")
    expects: Expectation
    task: str = Field(default="", description="what the implementer is to do")
    criteria: tuple[str, ...] = Field(default=(), description="what must hold for the work to count as done")
    base: int | None = Field(default=None, description="an accepted round to go back to; None is the incumbent")
    profile: bool = Field(default=False, description="whether the implementer gets the whole profile")
    board: tuple[Item, ...] = Field(default=(), description="issues that are new or changed")
    reasoning: str = ""


class Answer(_Record):
    """What a planner writes: a proposal, or why nothing is left worth a round."""

    proposal: Proposal | None = None
    then: tuple[Proposal, ...] = Field(default=(), max_length=4, description="what to test next while nothing gains")
    stop: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> Answer:
        if (self.proposal is None) == (len(self.stop) < SHORTEST_REASON):
            raise ValueError("give either `proposal`, or in `stop` why nothing is left worth a round")
        return self
