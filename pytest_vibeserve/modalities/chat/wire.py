"""The wire of `POST /v1/chat/completions`: chats become bodies, replies become the Answers that the Judge knows.

A request states `messages`, and where the target has them `response_format` (`json_schema`) and `prediction`.  An
answer is read as one of `/v1/completions`: `message.content` or `delta.content` is the text, `logprobs.content` are
the logprobs, `token_ids` and `prompt_token_ids` stand where they stand there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pytest_vibeserve import completions
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.load_generator.sse import lines
from pytest_vibeserve.workload import Request, Vocabulary

PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest(Request):
    """A request as a chat; `prompt_ids` are its messages by the model's template, `schema` is JSON text or ""."""

    messages: tuple[Message, ...] = ()
    schema: str = ""

    @property
    def is_constrained(self) -> bool:
        """Whether a schema may force parts of the answer."""
        return bool(self.schema)


def exchange(request: ChatRequest, timeout_s: float, at_s: float | None = None) -> Exchange:
    """The HTTP exchange of a chat."""
    raw = orjson.dumps(body(request))
    return Exchange(id=request.id, method="POST", path=PATH, body=raw, at_s=at_s, timeout_s=timeout_s)


def body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a chat."""
    fields = completions.body(request)
    del fields["prompt"]
    fields["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.schema:
        wanted = {"name": "answer", "strict": True, "schema": orjson.loads(request.schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return fields


def answer(request: ChatRequest, reply: Reply, vocabulary: Vocabulary) -> Answer:
    """Read a reply; a breach of the protocol is kept as `fault`, never raised."""
    if reply.error or reply.status != 200:
        return completions.answer(request, reply, vocabulary)
    if request.stream:
        return completions.answer(request, replace(reply, chunks=tuple(_events(reply))), vocabulary)
    whole = _translated(reply.body)
    return completions.answer(request, replace(reply, chunks=((reply.done_s, whole),)), vocabulary)


def _events(reply: Reply) -> Iterator[tuple[float, bytes]]:
    """The same stream with every event in the form of a completion, each where its last byte came."""
    for at_s, line in lines(reply.chunks):
        if line.startswith(b"data:"):
            yield at_s, b"data: " + _translated(line[5:].strip()) + b"\n\n"


def _translated(raw: bytes) -> bytes:
    """One payload as a completion; what is none is left as it is, for the reader of completions to refuse."""
    try:
        payload = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw
    if not isinstance(payload, dict) or not isinstance(payload.get("choices"), list):
        return raw
    choices = [_choice(choice) if isinstance(choice, dict) else choice for choice in payload["choices"]]
    return orjson.dumps({**payload, "choices": choices})


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    said = choice.get("message") or choice.get("delta")
    text = said.get("content") if isinstance(said, dict) else None
    found = {**choice, "text": text or ""}
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found["logprobs"] = _logprobs(content) if isinstance(content, list) else None
    return found


def _logprobs(content: list[Any]) -> dict[str, Any]:
    entries = [entry if isinstance(entry, dict) else {} for entry in content]
    return {
        "token_logprobs": [entry.get("logprob") for entry in entries],
        "top_logprobs": [
            {str(top.get("token")): top.get("logprob") for top in (entry, *(entry.get("top_logprobs") or ()))}
            for entry in entries
        ],
    }
