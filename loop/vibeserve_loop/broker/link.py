"""How agents reach the broker: one line of JSON asks, one line answers, over a local socket, with a token a session."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pytest_vibeserve.errors import InfrastructureError, UsageError
from pytest_vibeserve.report import Check, Comparison, Hint, Measurement, OutcomeName
from vibeserve_loop.proposals import Item

State = Literal["queued", "running", "done", "refused", "cancelled", "failed"]
SOCKET_VARIABLE, TOKEN_VARIABLE = "VIBESERVE_BROKER", "VIBESERVE_BROKER_TOKEN"
LONGEST_WAIT_S = 45.0
SLACK_S = 30.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Answer(_Record):
    """The public part of a verdict: no seed, no path, no sample, no example but the one that is burned."""

    outcome: OutcomeName
    reason: str
    depth: Literal["quick", "full"]
    provisional: bool = True
    cached: bool = False
    failed: tuple[Check, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    comparison: Comparison | None = None
    hints: tuple[Hint, ...] = ()
    wall_s: float = 0.0


class Ticket(_Record):
    """One question to the gate, where it stands, and what the session may still ask."""

    id: str
    state: State
    depth: Literal["quick", "full"] = "quick"
    reason: str = ""
    answer: Answer | None = None
    ahead: int = Field(default=0, description="questions that come before this one")
    quick_left: int = 0
    full_left: int = 0


class Address(_Record):
    """Where a session's broker listens, and the session's token."""

    socket: str
    token: str


@dataclass(frozen=True, slots=True)
class Link:
    """A session's way to its broker."""

    address: Address

    def start(self, depth: str) -> Ticket:
        """Ask for a gate on the workspace as it is now; a refusal is a ticket too."""
        return Ticket.model_validate(self._asked("start", depth=depth))

    def status(self, ticket: str, wait_s: float = 0.0) -> Ticket:
        """Where a question stands, after at most `wait_s` seconds; UsageError when there is no such ticket."""
        return Ticket.model_validate(self._asked("status", ticket=ticket, wait_s=min(wait_s, LONGEST_WAIT_S)))

    def issues(self, text: str = "", state: str = "") -> tuple[Item, ...]:
        """The board's issues that hold every word of `text` and are in `state`; empty takes all."""
        return tuple(Item.model_validate(row) for row in self._asked("issues", text=text, state=state))

    def issue(self, name: str) -> Item:
        """One issue; UsageError when there is none of that name."""
        return Item.model_validate(self._asked("issue", name=name))

    def create(self, item: Item) -> Item:
        """File an issue; UsageError when its name is taken."""
        return Item.model_validate(self._asked("create", item=item.model_dump()))

    def update(self, name: str, state: str, reason: str) -> Item:
        """Move an issue to a state; parking, blocking or abandoning needs a reason."""
        return Item.model_validate(self._asked("update", name=name, state=state, reason=reason))

    def brief(self) -> str:
        """The brief of the round that waits for edits; UsageError when none does."""
        return str(self._asked("brief"))

    def submit(self, summary: str) -> str:
        """Hand in the workspace; UsageError when nothing waits for it."""
        return str(self._asked("submit", summary=summary))

    def _asked(self, ask: str, **words: object) -> Any:
        line = json.dumps({"token": self.address.token, "ask": ask, "words": words}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(LONGEST_WAIT_S + SLACK_S)
                connection.connect(self.address.socket)
                connection.sendall(line)
                with connection.makefile("rb") as stream:
                    table = json.loads(stream.readline())
        except (OSError, ValueError) as error:
            raise InfrastructureError(f"the broker at {self.address.socket} does not answer: {error}") from None
        if refusal := table.get("refusal"):
            raise UsageError(refusal)
        return table["found"]


def address_file(workspace: Path) -> Path:
    """Where a session's address lies: beside the workspace, which agents cannot leave."""
    return workspace.parent / f".broker-{workspace.name}.json"


def find_link(workspace: Path) -> Link | None:
    """The link of the session that works in this folder; None when no broker serves it."""
    try:
        return Link(Address.model_validate_json(address_file(workspace).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def link_of_environment() -> Link | None:
    """The link that the environment names, for a program that an agent started."""
    found, token = os.environ.get(SOCKET_VARIABLE, ""), os.environ.get(TOKEN_VARIABLE, "")
    return Link(Address(socket=found, token=token)) if found and token else None


def told(ticket: Ticket) -> str:
    """A gate's answer in words."""
    left = f"(left: {ticket.quick_left} quick, {ticket.full_left} full)"
    if ticket.answer is None:
        return f"{ticket.state}: {ticket.reason or 'no answer yet'} {left}"
    spoiled = f"\n{ticket.reason}" if ticket.reason else ""
    return f"{said(ticket.answer)}{spoiled}\n{left}"


def said(answer: Answer) -> str:
    """The public part of a verdict in words."""
    lines = [f"{answer.outcome} ({answer.depth}{', from the cache' if answer.cached else ''}): {answer.reason}"]
    lines += [f"failed {c.name}: {c.detail}{'; for example ' + c.example if c.example else ''}" for c in answer.failed]
    lines += [
        f"{m.metric} at {m.load}: {m.value:.4g} {m.unit} [{m.low:.4g}, {m.high:.4g}]" for m in answer.measurements
    ]
    if answer.comparison is not None:
        found = answer.comparison
        lines.append(f"against the base: x{found.gain:.3f} [{found.low:.3f}, {found.high:.3f}], {found.conclusion}")
    lines += [f"hint {hint.name} ({hint.value:.3g}): {hint.text}" for hint in answer.hints]
    return "\n".join(lines)
