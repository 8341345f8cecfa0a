"""A session of a program, however it is spoken to: what it starts from and what its end is reckoned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vibeserve_loop.broker.link import SOCKET_VARIABLE, TOKEN_VARIABLE, Link
from vibeserve_loop.cli_agents.leashed import Spot
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.roles import Desk
from vibeserve_loop.tool_loop.limits import Account

SUMMARY_CHARACTERS = 400
SERVER = ("-P", "-m", "vibeserve_loop.broker.mcp_server")
LIMIT_MARKS = ("429", "rate limit", "rate_limit", "quota", "too many requests", "usage limit", "overloaded")


@dataclass(frozen=True, slots=True)
class Start:
    """How the program is started: its command (enclosed already), where, its mode, and a session to take up again."""

    command: tuple[str, ...]
    spot: Spot
    mode: str = ""
    resume: str = ""


@dataclass(slots=True)
class Talk:
    """A session under way: everything that its end is reckoned from."""

    desk: Desk
    account: Account
    link: Link | None
    id: str = ""
    usd: float | None = None


def server_environment(link: Link) -> dict[str, str]:
    """What the issue board's and the gate's MCP server is started with, so that it serves this session alone."""
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), str(root.parent)] if root.name == "loop" else [str(root)]
    address = {SOCKET_VARIABLE: link.address.socket, TOKEN_VARIABLE: link.address.token}
    return {**address, "PYTHONPATH": ":".join(paths)}


def ended(talk: Talk, summary: str, stopped: AgentStopped | None) -> Session:
    """The session's result; one that had to be stopped leaves no edit behind."""
    account = talk.account
    seconds = account.limits.minutes * 60 - account.left_s()
    usd = talk.usd if talk.usd is not None else account.usd
    account.told(usd, account.input, account.output)
    session = Session(
        summary=" ".join(summary.split())[:SUMMARY_CHARACTERS] or "no summary was given",
        spend=spent(seconds, usd, account.input, account.output),
        session=talk.id, calls=account.calls, cached_tokens=account.cached,
    )  # fmt: skip
    return given_up(talk.desk, stopped, session) if stopped else session


def limit_is_told(words: str) -> bool:
    """Whether words of a program mean that its model refused for now."""
    return any(mark in words.lower() for mark in LIMIT_MARKS)
