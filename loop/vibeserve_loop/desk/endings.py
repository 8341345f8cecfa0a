"""How an agent's session can end: finished, or given up in one of the ways that cost the round and nothing more."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from vibeserve_loop.records import MOST_SPENT, AgentResult, Spend
from vibeserve_loop.roles import Desk

Ending = Literal["finished", "budget", "hung", "flooded", "looped", "died", "garbage", "rate-limited"]


class Session(AgentResult):
    """An agent's result with what its session was: how it ended, its own name for it, and the calls it made."""

    ending: Ending = "finished"
    session: str = Field(default="", description="the agent's own name of the session, to resume it by")
    calls: int = Field(default=0, description="requests to a model, as far as the agent tells")
    cached_tokens: int = Field(default=0, description="of the tokens that went in, those read from a cache")


class AgentStopped(Exception):
    """An agent did not come to an end of its own; `ending` says how, the message says why."""

    def __init__(self, ending: Ending, reason: str) -> None:
        """Keep the kind apart from the words."""
        super().__init__(reason)
        self.ending = ending
        self.reason = reason


def given_up(desk: Desk, stopped: AgentStopped, reached: Session) -> Session:
    """The result of a session that was stopped: its half-done edits are undone, what it cost stays counted."""
    desk.restore()
    desk.log(f"stopped ({stopped.ending}): {stopped.reason}")
    why = f"{stopped.ending}: {stopped.reason}"
    return reached.model_copy(update={"summary": f"stopped, {why}", "ending": stopped.ending, "failed": why})


def spent(seconds: float, usd: float, tokens_in: int, tokens_out: int) -> Spend:
    """What a session cost, whatever an agent reports: nothing is negative, and what is no finite number is nothing."""
    return Spend(
        seconds=_within(seconds), usd=_within(usd), tokens_in=int(_within(tokens_in)),
        tokens_out=int(_within(tokens_out)),
    )  # fmt: skip


def _within(value: float) -> float:
    return min(value, MOST_SPENT) if 0 <= value < math.inf else 0
