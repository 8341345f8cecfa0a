"""Keeping a conversation within a model's context: the oldest answers of tools give way first, the brief never does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, ModelResponsePart

CHARACTERS_A_TOKEN = 3.5
KEPT_MESSAGES = 6
SHORT = 200


def size_of(messages: Sequence[ModelMessage]) -> int:
    """A conversation's size in tokens, from its characters; rather too large than too small."""
    return int(sum(len(str(getattr(part, "content", "") or getattr(part, "args", ""))) + 40
                   for message in messages for part in message.parts) / CHARACTERS_A_TOKEN)  # fmt: skip


def fitted(messages: list[ModelMessage], limit: int) -> list[ModelMessage]:
    """The same conversation with old tool answers, then old tool arguments, cut short until it fits the limit."""
    found = list(messages)
    excess = size_of(found) - limit
    for index in range(max(0, len(found) - KEPT_MESSAGES)):
        if excess <= 0:
            break
        found[index] = _cut(found[index])
        excess = size_of(found) - limit
    return found


def _cut(message: ModelMessage) -> ModelMessage:
    from pydantic_ai.messages import ModelRequest, ModelResponse

    if isinstance(message, ModelRequest):
        return replace(message, parts=[_cut_answer(part) for part in message.parts])
    if isinstance(message, ModelResponse):
        return replace(message, parts=[_cut_call(part) for part in message.parts])
    return message


def _cut_answer(part: ModelRequestPart) -> ModelRequestPart:
    from pydantic_ai.messages import ToolReturnPart

    if type(part) is not ToolReturnPart:
        return part
    return replace(cast("ToolReturnPart[Any]", part), content=_short(str(part.content)))


def _cut_call(part: ModelResponsePart) -> ModelResponsePart:
    from pydantic_ai.messages import ToolCallPart

    if type(part) is not ToolCallPart:
        return part
    words = {key: _short(value) if isinstance(value, str) else value for key, value in part.args_as_dict().items()}
    return replace(cast("ToolCallPart[Any]", part), args=words)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]} [... {len(text) - SHORT} characters were dropped]"
