"""The limits of one agent session, and the account that is held against them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

from vibeserve_loop.desk.endings import AgentStopped
from vibeserve_loop.roles import Left
from vibeserve_loop.tool_loop.meter import RUNNING, Meter
from vibeserve_loop.tool_loop.prices import Price, Tokens

SAME_CALLS = 6
FLOOD_CHARACTERS = 400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may take; `usd` and `tokens` may be None, time and turns never are."""

    minutes: float = 30.0
    turns: int = 120
    usd: float | None = None
    tokens: int | None = None
    context: int = 120_000


def within(limits: Limits, left: Left) -> Limits:
    """The limits, none beyond what the run has left."""
    usd = min(math.inf if limits.usd is None else limits.usd, left.usd)
    tokens = min(math.inf if limits.tokens is None else limits.tokens, left.tokens)
    return replace(
        limits, minutes=min(limits.minutes, left.seconds / 60), usd=usd if math.isfinite(usd) else None,
        tokens=int(tokens) if math.isfinite(tokens) else None,
    )  # fmt: skip


@dataclass(slots=True)
class Account:
    """What a session has taken so far; every method that charges raises AgentStopped past a limit.

    Within a run no limit goes beyond what the run has left, and what is charged is shown to the session's meter.
    """

    limits: Limits
    price: Price | None
    began: float = field(default_factory=time.monotonic)
    calls: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    last_input: int = 0
    usd: float = 0.0
    streamed: int = 0
    last_call: str = ""
    same_calls: int = 0
    meter: Meter | None = field(default_factory=RUNNING.get)

    def __post_init__(self) -> None:
        """Take in what the run has left."""
        if self.meter is not None:
            self.limits = within(self.limits, self.meter.left)

    def left_s(self) -> float:
        """Seconds until the session's time is over."""
        return self.began + self.limits.minutes * 60 - time.monotonic()

    def before_request(self, context_tokens: int) -> None:
        """Refuse the request whose input alone would break a cap, so that it is not paid for."""
        if self.calls >= self.limits.turns:
            raise AgentStopped("looped", f"{self.calls} requests did not bring it to an end")
        self.streamed = 0
        context_tokens = max(context_tokens, self.last_input)
        if self.limits.tokens is not None and self.input + self.output + context_tokens > self.limits.tokens:
            raise AgentStopped("budget", f"the next request would exceed {self.limits.tokens} tokens")
        if self.limits.usd is not None and self.price is not None:
            expected = self.usd + self.price.usd(Tokens(context_tokens, 0, context_tokens if self.cached else 0))
            if expected > self.limits.usd:
                raise AgentStopped("budget", f"${self.usd:.4f} is spent, one more would exceed ${self.limits.usd}")

    def charge(self, tokens: Tokens) -> None:
        """Add a response; past a cap nothing that it asks for is done."""
        self.calls += 1
        self.input += tokens.input
        self.last_input = tokens.input
        self.output += tokens.output
        self.cached += tokens.cache_read
        self.usd += self.price.usd(tokens) if self.price is not None else 0.0
        self.told(self.usd, self.input, self.output)
        if self.limits.usd is not None and self.usd > self.limits.usd:
            raise AgentStopped("budget", f"${self.usd:.4f} is spent of ${self.limits.usd}")
        if self.limits.tokens is not None and self.input + self.output > self.limits.tokens:
            raise AgentStopped("budget", f"{self.input + self.output} tokens are spent of {self.limits.tokens}")

    def told(self, usd: float, tokens_in: int, tokens_out: int) -> None:
        """Show the meter what the session has spent so far, as far as anybody has said."""
        if self.meter is not None:
            self.meter.show(usd, tokens_in, tokens_out)

    def stream(self, characters: int) -> None:
        """Count what one response has streamed."""
        self.streamed += characters
        if self.streamed > FLOOD_CHARACTERS:
            raise AgentStopped("flooded", f"one answer went on beyond {FLOOD_CHARACTERS} characters")

    def called(self, call: str) -> None:
        """Count the same tool call in a row; another one ends the row."""
        self.same_calls = self.same_calls + 1 if call == self.last_call else 1
        self.last_call = call
        if self.same_calls >= SAME_CALLS:
            raise AgentStopped("looped", f"the same call came {self.same_calls} times in a row: {call[:200]}")
