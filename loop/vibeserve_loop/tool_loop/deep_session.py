"""One session of LangChain's deep agents: their planning and sub-agents, the loop's tools, account and limits."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.broker.link import find_link
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.desk.equipment import equipped, instructions
from vibeserve_loop.foreign import require
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import Tokens
from vibeserve_loop.tool_loop.session import Caps, limits_of, price_for
from vibeserve_loop.tool_loop.tools import Refusal, Tools

WHO, EXTRA = "agent deepagents", "deepagents"
PROVIDERS = {
    "anthropic": ("ANTHROPIC_API_KEY", "langchain_anthropic"),
    "openai": ("OPENAI_API_KEY", "langchain_openai"),
}
"""The key and the library that a model needs whose name begins with the provider's."""
SUMMARY_CHARACTERS = 400
RATE_LIMITED = 429
SCRATCH = "- The tools named workspace_* act on the workspace, other file tools on a scratch pad that nobody reads.\n"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as LangChain spells it, PROVIDER:NAME, and its endpoint, empty for the provider's own."""

    name: str
    base_url: str


def ready(model: str) -> None:
    """UsageError when the key or a library is missing that a model of this name needs."""
    provider, named, _ = model.partition(":")
    key, library = PROVIDERS.get(provider, ("", "")) if named else ("", "")
    if key and not os.environ.get(key):
        raise UsageError(f"{key} is not set: put the key in the environment (any word, where base_url asks for none)")
    require(WHO, EXTRA, "deepagents", *([library] if library else []))


def deep_worked(model: Model, caps: Caps, brief: Brief, desk: Desk) -> Session:
    """Carry one session to its end; one that must be stopped leaves no edit behind."""
    try:
        import deepagents as library
    except ImportError as error:
        raise UsageError(f'{WHO}: pip install "pytest-vibeserve[{EXTRA}]" ({error})') from None
    account = Account(limits_of(caps), price_for(model.name.rpartition(":")[2], caps))
    tools = Tools(desk, find_link(desk.folder), account.left_s)
    summary, stopped = "", None
    with equipped(desk.folder, brief.target):
        agent = library.create_deep_agent(
            model=_chat(model),
            tools=[_plain(tools, name) for name in _names(tools)],
            system_prompt=instructions() + SCRATCH,
        )
        try:
            summary = asyncio.run(_limited(agent, brief, account, desk))
        except AgentStopped as caught:
            stopped = caught
        seconds = account.limits.minutes * 60 - account.left_s()
        cost = spent(seconds, account.usd, account.input, account.output)
        said = summary[:SUMMARY_CHARACTERS] or "no summary was given"
        done = Session(summary=said, spend=cost, calls=account.calls, cached_tokens=account.cached)
        return given_up(desk, stopped, done) if stopped else done


async def _limited(agent: Any, brief: Brief, account: Account, desk: Desk) -> str:
    try:
        return await asyncio.wait_for(_session(agent, brief, account, desk), account.left_s())
    except TimeoutError:
        raise AgentStopped("hung", f"it did not end within {account.limits.minutes:g} minutes") from None


async def _session(agent: Any, brief: Brief, account: Account, desk: Desk) -> str:
    """Every message that comes is charged before the next request is made."""
    from langgraph.errors import GraphRecursionError

    summary = ""
    asked = {"messages": [{"role": "user", "content": brief.text}]}
    try:
        async for step in agent.astream(asked, {"recursion_limit": 2 * account.limits.turns}, stream_mode="updates"):
            for change in step.values():
                messages = change.get("messages") if isinstance(change, dict) else None
                for message in messages if isinstance(messages, list) else ():
                    summary = _taken(message, account, desk) or summary
    except GraphRecursionError:
        raise AgentStopped("looped", f"{account.calls} requests did not bring it to an end") from None
    except (AgentStopped, asyncio.CancelledError):
        raise
    except _model_errors() as error:
        limited = getattr(error, "status_code", 0) == RATE_LIMITED
        raise AgentStopped("rate-limited" if limited else "died", str(error)[:300]) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise AgentStopped("garbage", str(error)[:300]) from None
    if not account.calls:
        raise AgentStopped("garbage", "it ended without a request to a model")
    return summary


def _model_errors() -> tuple[type[Exception], ...]:
    """What the providers' libraries raise, as far as they are installed."""
    names = (("openai", "OpenAIError"), ("anthropic", "AnthropicError"))
    return tuple(getattr(import_module(module), name) for module, name in names if find_spec(module) is not None)


def _taken(message: Any, account: Account, desk: Desk) -> str:
    used = getattr(message, "usage_metadata", None)
    if getattr(message, "type", "") != "ai":
        return ""
    for call in message.tool_calls:
        desk.log(f"calls {call['name']}: {str(call['args'])[:1000]}")
    known = used or {}
    details = known.get("input_token_details") or {}
    read, write = int(details.get("cache_read", 0) or 0), int(details.get("cache_creation", 0) or 0)
    account.charge(Tokens(int(known.get("input_tokens", 0)), int(known.get("output_tokens", 0)), read, write))
    for call in message.tool_calls:
        account.called(f"{call['name']} {call['args']}")
    if message.tool_calls:
        account.before_request(account.last_input)
    return str(message.text)


def _chat(model: Model) -> Any:
    try:
        from langchain.chat_models import init_chat_model

        place: dict[str, Any] = {"base_url": model.base_url} if model.base_url else {}
        return init_chat_model(model.name, **place)
    except (ImportError, ValueError) as error:
        raise UsageError(f"agent deepagents: model={model.name} cannot be used: {error}") from None


def _names(tools: Tools) -> tuple[str, ...]:
    return ("read", "write", "edit", "list", "search", "run", *(("gate",) if tools.link else ()))


def _plain(tools: Tools, name: str) -> Any:
    """One of our tools as LangChain takes it; its own file tools keep to a file system that is not the workspace."""
    from langchain_core.tools import StructuredTool

    made: Callable[..., str] = getattr(tools, name)

    def answer(**words: Any) -> str:
        try:
            return made(**words)
        except (Refusal, UsageError) as refusal:
            return f"refused: {refusal}"
        except OSError as error:
            return f"refused: {error.strerror}"
        except ValueError as error:
            return f"refused: {error}"

    with warnings.catch_warnings():
        schema = StructuredTool.from_function(made, name=f"workspace_{name}").args_schema
    return StructuredTool.from_function(answer, name=f"workspace_{name}", description=made.__doc__, args_schema=schema)
