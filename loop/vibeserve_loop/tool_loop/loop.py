"""One session of a model with tools at a desk: streamed, bounded in time, money, tokens, turns and context."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.desk.endings import AgentStopped, Session, given_up, spent
from vibeserve_loop.roles import Brief, Desk
from vibeserve_loop.tool_loop.context import fitted, size_of
from vibeserve_loop.tool_loop.limits import Account
from vibeserve_loop.tool_loop.prices import Tokens
from vibeserve_loop.tool_loop.tools import Refusal, Tools, shortened

if TYPE_CHECKING:
    from pydantic_ai.models import Model

SUMMARY_CHARACTERS = 400
RETRIES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What a session is given besides its brief: the model, the tools, the standing instructions, the account."""

    model: Model
    tools: Tools
    instructions: str
    account: Account


def worked(work: Work, brief: Brief, desk: Desk) -> Session:
    """Carry one session to its end; one that must be stopped leaves no edit behind and says why it was."""
    from pydantic_ai.exceptions import AgentRunError

    account, summary, stopped = work.account, "", None
    try:
        summary = asyncio.run(_limited(work, brief, desk))
    except AgentStopped as caught:
        stopped = caught
    except AgentRunError as error:
        stopped = _cause(error)
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError) as error:
        # What it cost so far stays counted, which a guard further out could not see.
        desk.log(traceback.format_exc().rstrip())
        stopped = AgentStopped("garbage", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    seconds = account.limits.minutes * 60 - account.left_s()
    session = Session(
        summary=summary[:SUMMARY_CHARACTERS] or "no summary was given",
        spend=spent(seconds, account.usd, account.input, account.output),
        calls=account.calls,
        cached_tokens=account.cached,
    )
    return given_up(desk, stopped, session) if stopped else session


async def _limited(work: Work, brief: Brief, desk: Desk) -> str:
    try:
        return await asyncio.wait_for(_session(work, brief, desk), work.account.left_s())
    except TimeoutError:
        raise AgentStopped("hung", f"it did not end within {work.account.limits.minutes:g} minutes") from None


async def _session(work: Work, brief: Brief, desk: Desk) -> str:
    from pydantic_ai import Agent
    from pydantic_ai.capabilities import ProcessHistory
    from pydantic_ai.usage import UsageLimits

    context = work.account.limits.context
    agent: Agent[None, str] = Agent(
        work.model,
        instructions=work.instructions,
        tools=_tools(work, desk),
        retries=3,
        capabilities=[ProcessHistory(lambda messages: fitted(messages, context))],
        model_settings={"max_tokens": 16_000, "max_retries": RETRIES, "parallel_tool_calls": False},
    )
    free = UsageLimits(request_limit=None)
    async with agent.iter(brief.text, usage_limits=free) as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                work.account.before_request(size_of(fitted(run.all_messages(), context)))
                async with node.stream(run.ctx) as stream:
                    async for event in stream:
                        work.account.stream(_length(event))
                _charge(work.account, run, desk)
        return str(run.result.output) if run.result else ""


def _charge(account: Account, run: Any, desk: Desk) -> None:
    """Take the last response into the account and the log."""
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart

    last = run.all_messages()[-1]
    if not isinstance(last, ModelResponse):
        raise AgentStopped("garbage", "the model's answer could not be read")
    for part in last.parts:
        if isinstance(part, TextPart):
            desk.log(f"says: {shortened(part.content, 2000)}")
        elif isinstance(part, ToolCallPart):
            desk.log(f"calls {part.tool_name}: {shortened(part.args_as_json_str(), 2000)}")
    found = last.usage
    account.charge(
        Tokens(found.input_tokens, found.output_tokens, found.cache_read_tokens, found.cache_write_tokens)
    )  # fmt: skip
    for part in last.parts:
        if isinstance(part, ToolCallPart):
            account.called(f"{part.tool_name} {part.args_as_json_str()}")


def _tools(work: Work, desk: Desk) -> list[Any]:
    from pydantic_ai import Tool

    names = ["read", "write", "edit", "list", "search", "run"] + (["gate"] if work.tools.link else [])
    return [Tool(_answering(getattr(work.tools, name), desk), name=name, sequential=True) for name in names]


def _answering(tool: Callable[..., str], desk: Desk) -> Callable[..., str]:
    """The tool with its refusals as answers: what was asked wrongly, the model may ask again."""

    def answer(**words: Any) -> str:
        try:
            told = tool(**words)
        except (Refusal, UsageError) as refusal:
            told = f"refused: {refusal}"
        except OSError as error:
            told = f"refused: {error.strerror}"
        except ValueError as error:
            told = f"refused: {error}"
        desk.log(f"  {json.dumps(told[:300])}")
        return told

    answer.__doc__ = tool.__doc__
    answer.__signature__ = inspect.signature(tool, eval_str=True)  # type: ignore[attr-defined]
    answer.__annotations__ = dict(inspect.get_annotations(getattr(tool, "__func__", tool), eval_str=True))
    return answer


def _length(event: Any) -> int:
    delta = getattr(event, "delta", None)
    told = getattr(delta, "content_delta", None) or getattr(delta, "args_delta", None) or ""
    return len(told) if isinstance(told, str) else len(json.dumps(told))


def _cause(error: Exception) -> AgentStopped:
    """What stopped the model; UsageError when it is the user's to mend (keys, names)."""
    from pydantic_ai import exceptions as known

    said = " ".join(str(error).split())[:300]
    if isinstance(error, known.ModelAuthenticationError | known.ModelNotFoundError):
        raise UsageError(f"the model's endpoint refused: {said}; check the key in the environment and the model's name")
    if isinstance(error, known.ModelRateLimitError | known.ModelQuotaExceededError):
        return AgentStopped("rate-limited", f"{said} (after {RETRIES} retries)")
    if isinstance(error, known.ModelAPIError):
        return AgentStopped("died", f"{said} (after {RETRIES} retries)")
    return AgentStopped("garbage", said)
