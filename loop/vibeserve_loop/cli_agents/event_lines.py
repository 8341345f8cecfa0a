"""What the programs' headless modes are called with, and what their events mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vibeserve_loop.cli_agents.lenience import amount, number, rows, table, words
from vibeserve_loop.tool_loop.prices import Tokens

Event = Mapping[str, Any]


@dataclass(slots=True)
class Heard:
    """What the events of one session have told so far; `whole` once the program said that its turn is over."""

    text: str = ""
    session: str = ""
    call: str = ""
    calls: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    usd: float | None = None
    failed: str = ""
    whole: bool = False
    capped: bool = False

    def called(self, name: str, given: object) -> None:
        """Note a call of a tool."""
        self.calls += 1
        self.call = f"{name} {json.dumps(given, default=str, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What one session is started with; empty and None are the program's own."""

    folder: Path
    model: str = ""
    usd: float | None = None
    resume: str = ""
    servers: Mapping[str, object] = field(default_factory=dict)


Reader = Callable[[Event, Heard], None]


def _claude_words(ask: Ask) -> tuple[str, ...]:
    told = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
    told += ["--model", ask.model] if ask.model else []
    told += ["--max-budget-usd", f"{ask.usd:g}"] if ask.usd is not None else []
    told += ["--mcp-config", json.dumps({"mcpServers": dict(ask.servers)}), "--strict-mcp-config"]
    return (*told, *(("--resume", ask.resume) if ask.resume else ()))


def _claude(event: Event, heard: Heard) -> None:
    heard.session = words(event.get("session_id")) or heard.session
    if event.get("type") == "assistant":
        message = table(event.get("message"))
        for part in map(table, rows(message.get("content"))):
            if part.get("type") == "tool_use":
                heard.called(words(part.get("name")), part.get("input"))
            elif part.get("type") == "text":
                heard.text = words(part.get("text"))
        heard.tokens = _added(heard.tokens, _of_claude(table(message.get("usage"))))
    elif event.get("type") == "result":
        heard.whole = True
        heard.usd = None if event.get("total_cost_usd") is None else number(event.get("total_cost_usd"))
        heard.tokens = _of_claude(table(event.get("usage"))) if event.get("usage") else heard.tokens
        heard.capped = "budget" in words(event.get("subtype"))
        heard.failed = words(event.get("result") or event.get("subtype")) if event.get("is_error") else ""


def _of_claude(used: Event) -> Tokens:
    read, write = amount(used.get("cache_read_input_tokens")), amount(used.get("cache_creation_input_tokens"))
    return Tokens(amount(used.get("input_tokens")) + read + write, amount(used.get("output_tokens")), read, write)


def _codex_words(ask: Ask) -> tuple[str, ...]:
    told = ["codex", "exec", *(("resume", ask.resume) if ask.resume else ()), "--json", "--skip-git-repo-check"]
    told += ["--dangerously-bypass-approvals-and-sandbox"]
    for name, server in ask.servers.items():
        told += ["-c", f"mcp_servers.{name}={_toml(server)}"]
    return (*told, *(("-m", ask.model) if ask.model else ()), "-")


def _codex(event: Event, heard: Heard) -> None:
    kind, item = event.get("type"), table(event.get("item"))
    if kind == "thread.started":
        heard.session = words(event.get("thread_id"))
    elif kind == "item.completed" and item.get("type") == "agent_message":
        heard.text = words(item.get("text"))
    elif kind == "item.completed" and item.get("type") in ("command_execution", "file_change", "mcp_tool_call"):
        heard.called(words(item.get("type")), item.get("command") or item.get("changes") or item.get("tool"))
    elif kind == "turn.completed":
        used = table(event.get("usage"))
        out = amount(used.get("output_tokens")) + amount(used.get("reasoning_output_tokens"))
        found = Tokens(amount(used.get("input_tokens")), out, amount(used.get("cached_input_tokens")))
        heard.whole, heard.tokens = True, _added(heard.tokens, found)
    elif kind in ("turn.failed", "error"):
        heard.failed = words(table(event.get("error")).get("message") or event.get("message")) or "it failed"


def _gemini_words(ask: Ask) -> tuple[str, ...]:
    told = ("gemini", "-o", "stream-json", "--approval-mode", "yolo", "--skip-trust")
    return (*told, *(("-m", ask.model) if ask.model else ()), *(("--resume", ask.resume) if ask.resume else ()))


def _gemini(event: Event, heard: Heard) -> None:
    kind = event.get("type")
    heard.session = words(event.get("session_id")) or heard.session
    if kind == "message" and event.get("role") == "assistant":
        said = words(event.get("content"))
        heard.text = heard.text + said if event.get("delta") else said
    elif kind == "tool_use":
        heard.text = ""
        heard.called(words(event.get("tool_name")), event.get("parameters"))
    elif kind == "result":
        used = table(event.get("stats"))
        heard.tokens = Tokens(amount(used.get("input_tokens")), amount(used.get("output_tokens")))
        heard.whole = True
        heard.failed = "" if event.get("status") == "success" else words(event.get("error")) or "failed"
    elif kind == "error" and event.get("severity") == "error":
        heard.failed = words(event.get("message")) or "it failed"


def _opencode_words(ask: Ask) -> tuple[str, ...]:
    # Its model is in the settings that it is given, where the endpoint is.
    return ("opencode", "run", "--format", "json", "--auto", *(("--session", ask.resume) if ask.resume else ()))


def _opencode(event: Event, heard: Heard) -> None:
    kind, part = event.get("type"), table(event.get("part"))
    heard.session = words(event.get("sessionID")) or heard.session
    if kind == "tool_use":
        heard.called(words(part.get("tool")), table(part.get("state")).get("input"))
    elif kind == "text":
        heard.text = words(part.get("text"))
    elif kind == "step_finish":
        used = table(part.get("tokens"))
        read, write = amount(table(used.get("cache")).get("read")), amount(table(used.get("cache")).get("write"))
        out = amount(used.get("output")) + amount(used.get("reasoning"))
        found = Tokens(amount(used.get("input")) + read + write, out, read, write)
        heard.whole, heard.tokens = part.get("reason") != "tool-calls", _added(heard.tokens, found)
        heard.usd = (heard.usd or 0.0) + number(part.get("cost"))
    elif kind == "error":
        heard.failed = json.dumps(event.get("error"), default=str)[:300]


def _added(one: Tokens, other: Tokens) -> Tokens:
    return Tokens(
        one.input + other.input, one.output + other.output, one.cache_read + other.cache_read,
        one.cache_write + other.cache_write,
    )  # fmt: skip


def _toml(value: object) -> str:
    """A value as codex's command line takes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)


WORDS: Mapping[str, Callable[[Ask], tuple[str, ...]]] = {
    "claude": _claude_words, "codex": _codex_words, "gemini": _gemini_words, "opencode": _opencode_words,
}  # fmt: skip
READERS: Mapping[str, Reader] = {"claude": _claude, "codex": _codex, "gemini": _gemini, "opencode": _opencode}
KEEP_A_CAP = ("claude",)
"""Programs that keep a cap in dollars themselves."""
TAKE_SERVERS = ("claude", "codex")
"""Programs that can be given MCP servers for one session by words alone."""
SETTLE_SERVERS = ("gemini",)
"""Programs that are told of MCP servers by their settings."""
