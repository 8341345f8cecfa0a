"""What the programs' headless modes are called with, and what their events mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

    def called(self, name: str, words: object) -> None:
        """Note a call of a tool."""
        self.calls += 1
        self.call = f"{name} {json.dumps(words, default=str, sort_keys=True)}"


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
    words = ["claude", "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
    words += ["--model", ask.model] if ask.model else []
    words += ["--max-budget-usd", f"{ask.usd:g}"] if ask.usd is not None else []
    words += ["--mcp-config", json.dumps({"mcpServers": dict(ask.servers)}), "--strict-mcp-config"]
    return (*words, *(("--resume", ask.resume) if ask.resume else ()))


def _claude(event: Event, heard: Heard) -> None:
    heard.session = str(event.get("session_id") or heard.session)
    if event.get("type") == "assistant":
        for part in event["message"].get("content") or ():
            if part.get("type") == "tool_use":
                heard.called(part["name"], part.get("input"))
            elif part.get("type") == "text":
                heard.text = part["text"]
        heard.tokens = _added(heard.tokens, _of_claude(event["message"].get("usage") or {}))
    elif event.get("type") == "result":
        heard.whole, heard.usd = True, event.get("total_cost_usd")
        heard.tokens = _of_claude(event.get("usage") or {}) if event.get("usage") else heard.tokens
        heard.capped = "budget" in str(event.get("subtype"))
        heard.failed = str(event.get("result") or event.get("subtype")) if event.get("is_error") else ""


def _of_claude(used: Event) -> Tokens:
    read, write = int(used.get("cache_read_input_tokens") or 0), int(used.get("cache_creation_input_tokens") or 0)
    return Tokens(int(used.get("input_tokens") or 0) + read + write, int(used.get("output_tokens") or 0), read, write)


def _codex_words(ask: Ask) -> tuple[str, ...]:
    words = ["codex", "exec", *(("resume", ask.resume) if ask.resume else ()), "--json", "--skip-git-repo-check"]
    words += ["--dangerously-bypass-approvals-and-sandbox"]
    for name, server in ask.servers.items():
        words += ["-c", f"mcp_servers.{name}={_toml(server)}"]
    return (*words, *(("-m", ask.model) if ask.model else ()), "-")


def _codex(event: Event, heard: Heard) -> None:
    kind, item = event.get("type"), event.get("item") or {}
    if kind == "thread.started":
        heard.session = str(event.get("thread_id") or "")
    elif kind == "item.completed" and item.get("type") == "agent_message":
        heard.text = str(item.get("text") or "")
    elif kind == "item.completed" and item.get("type") in ("command_execution", "file_change", "mcp_tool_call"):
        heard.called(item["type"], item.get("command") or item.get("changes") or item.get("tool"))
    elif kind == "turn.completed":
        used = event.get("usage") or {}
        more = int(used.get("reasoning_output_tokens") or 0)
        cached = int(used.get("cached_input_tokens") or 0)
        found = Tokens(int(used.get("input_tokens") or 0), int(used.get("output_tokens") or 0) + more, cached)
        heard.whole, heard.tokens = True, _added(heard.tokens, found)
    elif kind in ("turn.failed", "error"):
        heard.failed = str((event.get("error") or {}).get("message") or event.get("message") or "it failed")


def _gemini_words(ask: Ask) -> tuple[str, ...]:
    words = ("gemini", "-o", "stream-json", "--approval-mode", "yolo", "--skip-trust")
    return (*words, *(("-m", ask.model) if ask.model else ()), *(("--resume", ask.resume) if ask.resume else ()))


def _gemini(event: Event, heard: Heard) -> None:
    kind = event.get("type")
    heard.session = str(event.get("session_id") or heard.session)
    if kind == "message" and event.get("role") == "assistant":
        words = str(event.get("content") or "")
        heard.text = heard.text + words if event.get("delta") else words
    elif kind == "tool_use":
        heard.text = ""
        heard.called(str(event.get("tool_name")), event.get("parameters"))
    elif kind == "result":
        used = event.get("stats") or {}
        heard.tokens = Tokens(int(used.get("input_tokens") or 0), int(used.get("output_tokens") or 0))
        heard.whole, heard.failed = (
            True,
            "" if event.get("status") == "success" else str(event.get("error") or "failed"),
        )
    elif kind == "error" and event.get("severity") == "error":
        heard.failed = str(event.get("message"))


def _opencode_words(ask: Ask) -> tuple[str, ...]:
    # Its model is in the settings that it is given, where the endpoint is.
    return ("opencode", "run", "--format", "json", "--auto", *(("--session", ask.resume) if ask.resume else ()))


def _opencode(event: Event, heard: Heard) -> None:
    kind, part = event.get("type"), event.get("part") or {}
    heard.session = str(event.get("sessionID") or heard.session)
    if kind == "tool_use":
        heard.called(str(part.get("tool")), (part.get("state") or {}).get("input"))
    elif kind == "text":
        heard.text = str(part.get("text") or "")
    elif kind == "step_finish":
        used = part.get("tokens") or {}
        cache = used.get("cache") or {}
        read, write = int(cache.get("read") or 0), int(cache.get("write") or 0)
        out = int(used.get("output") or 0) + int(used.get("reasoning") or 0)
        found = Tokens(int(used.get("input") or 0) + read + write, out, read, write)
        heard.whole, heard.tokens = part.get("reason") != "tool-calls", _added(heard.tokens, found)
        heard.usd = (heard.usd or 0.0) + float(part.get("cost") or 0.0)
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
