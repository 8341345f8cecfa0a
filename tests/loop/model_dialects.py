"""Four ways to speak as a model: one turn (text, and at most one call of a tool) in each interface's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

USAGE = (1000, 50)


@dataclass(frozen=True)
class Turn:
    """What the model answers: words, then perhaps a tool's name and its arguments."""

    text: str = ""
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""
    identity: str = "call_1"


@dataclass(frozen=True)
class Asked:
    """What a request says, whatever its interface: tools on offer, answers of tools so far, words of the user."""

    tools: dict[str, dict[str, Any]]
    results: tuple[str, ...]
    words: str
    stream: bool


class Messages:
    """Anthropic's Messages."""

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools", [])}
        parts = [part for message in body["messages"] for part in _parts(message["content"])]
        results = tuple(json.dumps(part.get("content")) for part in parts if part["type"] == "tool_result")
        return Asked(tools, results, json.dumps([body.get("system"), body["messages"]]), bool(body.get("stream")))

    @staticmethod
    def whole(turn: Turn, model: str) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
        if turn.tool:
            content.append({"type": "tool_use", "id": turn.identity, "name": turn.tool, "input": turn.arguments})
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": "tool_use" if turn.tool else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": USAGE[0], "output_tokens": USAGE[1]},
        }  # fmt: skip

    @classmethod
    def events(cls, turn: Turn, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        whole = cls.whole(turn, model)
        start = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": USAGE[0], "output_tokens": 1}}
        yield "message_start", {"message": start}
        for index, part in enumerate(whole["content"]):
            if part["type"] == "text":
                empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": part["text"]}
            else:
                empty = {**part, "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(part["input"])}
            yield "content_block_start", {"index": index, "content_block": empty}
            yield "content_block_delta", {"index": index, "delta": delta}
            yield "content_block_stop", {"index": index}
        ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        yield "message_delta", {"delta": ended, "usage": {"output_tokens": USAGE[1]}}
        yield "message_stop", {}


class Responses:
    """OpenAI's Responses."""

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        items = body["input"] if isinstance(body["input"], list) else []
        results = tuple(str(item.get("output")) for item in items if str(item.get("type", "")).endswith("call_output"))
        tools: dict[str, dict[str, Any]] = {}
        for tool in body.get("tools", []):
            for inner in tool.get("tools", [tool]):
                scope = f"{tool['name']}/" if "tools" in tool else ""
                tools[scope + str(inner.get("name", inner.get("type")))] = inner.get("parameters") or {}
        words = json.dumps([body.get("instructions"), body["input"]])
        return Asked(tools, results, words, bool(body.get("stream")))

    @staticmethod
    def whole(turn: Turn, model: str) -> dict[str, Any]:
        output: list[dict[str, Any]] = []
        if turn.text:
            content = [{"type": "output_text", "text": turn.text, "annotations": []}]
            output.append(
                {"type": "message", "id": "m_1", "role": "assistant", "status": "completed", "content": content}
            )
        if turn.tool:
            call = {"type": "function_call", "id": "f_1", "call_id": turn.identity, "name": turn.tool}
            scope = {"namespace": turn.namespace} if turn.namespace else {}
            output.append({**call, **scope, "arguments": json.dumps(turn.arguments), "status": "completed"})
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1], "total_tokens": sum(USAGE), **details}
        return {
            "id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "completed",
            "output": output, "usage": usage, "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
        }  # fmt: skip

    @classmethod
    def events(cls, turn: Turn, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        whole = cls.whole(turn, model)
        yield "response.created", {"response": {**whole, "status": "in_progress", "output": [], "usage": None}}
        for index, item in enumerate(whole["output"]):
            place = {"output_index": index}
            yield "response.output_item.added", {**place, "item": _begun(item)}
            inner = {**place, "item_id": item["id"]}
            if item["type"] == "message":
                part = {"type": "output_text", "text": "", "annotations": []}
                yield "response.content_part.added", {**inner, "content_index": 0, "part": part}
                text = {"content_index": 0, "delta": turn.text, "logprobs": []}
                yield "response.output_text.delta", {**inner, **text}
            else:
                yield "response.function_call_arguments.delta", {**inner, "delta": item["arguments"]}
                done = {"arguments": item["arguments"], "name": item["name"]}
                yield "response.function_call_arguments.done", {**inner, **done}
            yield "response.output_item.done", {**place, "item": item}
        yield "response.completed", {"response": whole}


class Chat:
    """OpenAI's Chat Completions, as everybody else speaks it too."""

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        tools = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in body.get("tools", [])}
        results = tuple(str(message["content"]) for message in body["messages"] if message["role"] == "tool")
        return Asked(tools, results, json.dumps(body["messages"]), bool(body.get("stream")))

    @staticmethod
    def whole(turn: Turn, model: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
        if turn.tool:
            function = {"name": turn.tool, "arguments": json.dumps(turn.arguments)}
            message["tool_calls"] = [{"index": 0, "id": turn.identity, "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if turn.tool else "stop"}
        usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
        return {
            "id": "c_1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [choice],
            "usage": usage,
        }

    @classmethod
    def events(cls, turn: Turn, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        whole = cls.whole(turn, model)
        chunk = {"id": "c_1", "object": "chat.completion.chunk", "created": 1, "model": model}
        choice = whole["choices"][0]
        yield "", {**chunk, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]}
        ended = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        yield "", {**chunk, "choices": [ended]}
        yield "", {**chunk, "choices": [], "usage": whole["usage"]}


class Gemini:
    """Google's generateContent."""

    @staticmethod
    def asked(body: dict[str, Any]) -> Asked:
        declared = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
        tools = {f["name"]: f.get("parametersJsonSchema") or f.get("parameters") or {} for f in declared}
        parts = [part for content in body["contents"] for part in content["parts"]]
        results = tuple(json.dumps(part["functionResponse"]) for part in parts if "functionResponse" in part)
        return Asked(tools, results, json.dumps([body.get("systemInstruction"), body["contents"]]), False)

    @staticmethod
    def whole(turn: Turn, model: str) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"text": turn.text}] if turn.text else []
        if turn.tool:
            parts.append({"functionCall": {"name": turn.tool, "args": turn.arguments, "id": turn.identity}})
        usage = {"promptTokenCount": USAGE[0], "candidatesTokenCount": USAGE[1], "totalTokenCount": sum(USAGE)}
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "r_1"}

    @classmethod
    def events(cls, turn: Turn, model: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "", cls.whole(turn, model)


Dialect = type[Messages] | type[Responses] | type[Chat] | type[Gemini]


def _parts(content: Any) -> list[dict[str, Any]]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    emptied: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return {**item, **emptied, "status": "in_progress"}
