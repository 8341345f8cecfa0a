"""The programs that are known by name: how each is started, told its model and endpoint, and kept to itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_vibeserve.report import write_atomically
from vibeserve_loop.tool_loop.prices import Price

CLAUDE = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "IS_SANDBOX": "1",
}  # fmt: skip
QUIET = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "NO_COLOR": "1", "CI": "1"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: the model and the endpoint, empty for the program's own, and the folder for its settings.

    With `user` the program finds the user's own home and settings there, and nothing is written for it.
    `servers` are MCP servers for a program that takes them by its settings alone.
    """

    model: str
    base_url: str
    home: Path
    price: Price | None = None
    user: bool = False
    servers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """One program: `keys` are the only secrets that reach it, `settle` writes its settings and names its variables.

    `logins` are the places in a user's home where it keeps who is logged in; without any it gets all of the home.
    `hosts` is where its model answers by itself, `login_hosts` where else somebody who is logged in is served.
    """

    command: tuple[str, ...]
    install: str
    keys: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    settle: Callable[[Wish], Mapping[str, str]] = lambda wish: {}
    mode: str = ""
    logins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    login_hosts: tuple[str, ...] = ()


def _codex(wish: Wish) -> Mapping[str, str]:
    """`config.toml` in a home of its own; its own sandbox is off, for it runs inside the loop's."""
    if wish.user:
        return {}
    lines = [f"model = {json.dumps(wish.model)}"] if wish.model else []
    if wish.base_url:
        values = {"name": "endpoint", "base_url": f"{wish.base_url}/v1", "wire_api": "responses"}
        lines += ['model_provider = "endpoint"', "[model_providers.endpoint]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        lines += ['env_key = "OPENAI_API_KEY"'] if os.environ.get("OPENAI_API_KEY") else []
    lines += ["[features]", "shell_snapshot = false"]
    lines += ["[shell_environment_policy]", 'exclude = ["*KEY*", "*TOKEN*", "*SECRET*"]']
    _written(wish.home, ".codex/config.toml", "\n".join(lines) + "\n")
    return {"CODEX_HOME": str(wish.home / ".codex")}


def _claude(wish: Wish) -> Mapping[str, str]:
    found = {"ANTHROPIC_MODEL": wish.model} if wish.model else {}
    return {**found, **({"ANTHROPIC_BASE_URL": wish.base_url} if wish.base_url else {})}


def _gemini(wish: Wish) -> Mapping[str, str]:
    settings = {
        "security": {
            "auth": {"selectedType": "gemini-api-key"},
            "environmentVariableRedaction": {"enabled": True},
        },
        "general": {"disableAutoUpdate": True},
        "privacy": {"usageStatisticsEnabled": False},
        "mcpServers": dict(wish.servers),
    }
    if not wish.user:
        _written(wish.home, ".gemini/settings.json", json.dumps(settings))
    found = {"GEMINI_MODEL": wish.model} if wish.model else {}
    return {**found, **({"GOOGLE_GEMINI_BASE_URL": wish.base_url} if wish.base_url else {})}


def _facts(model: str, price: Price | None) -> dict[str, object]:
    """What opencode has to know of a model that is not on its list; it tells its account only of what has a size."""
    found: dict[str, object] = {"name": model, "limit": {"context": 128_000, "output": 16_000}}
    if price is not None:
        found["cost"] = {"input": price.input, "output": price.output, "cache_read": price.cache_read}
    return found


def _opencode(wish: Wish) -> Mapping[str, str]:
    if wish.user:
        return {}
    settings: dict[str, object] = {"autoupdate": False, "share": "disabled"}
    if wish.base_url:
        model = wish.model or "model"
        provider = {
            "npm": "@ai-sdk/openai-compatible", "name": "endpoint", "models": {model: _facts(model, wish.price)},
            "options": {"baseURL": f"{wish.base_url}/v1", "apiKey": "{env:OPENAI_API_KEY}"},
        }  # fmt: skip
        settings |= {"provider": {"endpoint": provider}, "model": f"endpoint/{model}"}
    elif wish.model:
        settings["model"] = wish.model
    _written(wish.home, "opencode.json", json.dumps(settings))
    return {"OPENCODE_CONFIG": str(wish.home / "opencode.json")}


PROGRAMS: Mapping[str, Program] = {
    "codex": Program(
        ("codex-acp",), "npm install -g @openai/codex @agentclientprotocol/codex-acp", ("OPENAI_API_KEY",),
        settle=_codex, mode="agent-full-access", logins=(".codex",),
        hosts=("api.openai.com",), login_hosts=("chatgpt.com", "auth.openai.com"),
    ),
    "claude": Program(
        ("claude-agent-acp",), "npm install -g @agentclientprotocol/claude-agent-acp", ("ANTHROPIC_API_KEY",),
        CLAUDE, _claude, logins=(".claude", ".claude.json"),
        hosts=("api.anthropic.com",), login_hosts=("platform.claude.com", "console.anthropic.com", "claude.ai"),
    ),
    "gemini": Program(
        ("gemini", "--acp", "--skip-trust"), "npm install -g @google/gemini-cli", ("GEMINI_API_KEY",),
        {"GEMINI_CLI_TRUST_WORKSPACE": "true", "GEMINI_TELEMETRY_ENABLED": "false"}, _gemini,
        logins=(".gemini",), hosts=("generativelanguage.googleapis.com",),
        login_hosts=("cloudcode-pa.googleapis.com", "oauth2.googleapis.com", "www.googleapis.com"),
    ),
    "opencode": Program(
        ("opencode", "acp"), "npm install -g opencode-ai", ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"),
        {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}, _opencode,
        logins=(".config/opencode", ".local/share/opencode", ".local/state/opencode", ".cache/opencode"),
        hosts=("api.openai.com", "api.anthropic.com"),
    ),
}  # fmt: skip


def environment_for(program: Program, wish: Wish) -> dict[str, str]:
    """The whole environment of a program: where things are, its own settings, its keys, and nothing else of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE") if name in os.environ}
    keys = {name: os.environ[name] for name in program.keys if name in os.environ}
    home = {"HOME": str(Path.home() if wish.user else wish.home), "TMPDIR": "/tmp"}
    return {**kept, **QUIET, **home, **program.environment, **program.settle(wish), **keys}


def _written(home: Path, name: str, text: str) -> None:
    """Write below a home where the program may write too: links that it left there could lead anywhere."""
    place = home
    for part in Path(name).parts:
        place /= part
        if place.is_symlink():
            place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, text)
