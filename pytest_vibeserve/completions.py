"""The wire of `POST /v1/completions`: a Request becomes a body, a Reply becomes an Answer; nothing is judged here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.load_generator.sse import lines
from pytest_vibeserve.workload import Request, Vocabulary

PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """What the server said of one position: the chosen token's logprob (nats), and the likeliest ids with theirs."""

    chosen: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole choice: ids as served (or retokenised text), text, why it ended, logprobs by position."""

    index: int
    ids: tuple[int, ...]
    text: str
    finish_reason: str
    logprobs: tuple[TokenLogprobs, ...] = ()
    retokenised: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: when it came (seconds from the traffic's start), of which choice, how many tokens."""

    at_s: float
    index: int
    tokens: int
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request; `fault` is the first breach of the protocol, "" when there was none."""

    request: Request
    status: int
    fault: str
    choices: tuple[Choice, ...] = ()
    events: tuple[Event, ...] = ()
    usage: tuple[int, int] | None = None
    prompt_ids: tuple[int, ...] | None = None
    error: tuple[str, str] | None = None
    scheduled_s: float = 0.0
    sent_s: float = 0.0
    done_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Generated tokens over all choices, counted from ids; text that was cut anew is no more than was asked for.

        A broken character is one token of a model's and three of a tokenizer's.
        """
        most = self.request.max_tokens
        return sum(min(len(choice.ids), most) if choice.retokenised else len(choice.ids) for choice in self.choices)

    @property
    def is_streamed(self) -> bool:
        """Whether its events say when its parts came."""
        return self.request.stream

    @property
    def asked_s(self) -> float:
        """When the server had been given all that the answer is to: what the latency of the whole counts from."""
        return self.sent_s


def exchange(request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
    """The HTTP exchange of a request; every value that the gate relies on is sent."""
    return Exchange(
        id=request.id, method="POST", path=PATH, body=orjson.dumps(body(request)), at_s=at_s, timeout_s=timeout_s
    )


def body(request: Request) -> dict[str, Any]:
    """The JSON body of a request."""
    fields: dict[str, Any] = {
        "prompt": request.prompt_text or list(request.prompt_ids),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "n": request.n,
        "stream": request.stream,
        "ignore_eos": request.ignore_eos,
    }
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.stop:
        fields["stop"] = list(request.stop)
    if request.logprobs is not None:
        fields |= {"logprobs": request.logprobs, "return_tokens_as_token_ids": True}
    if request.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in request.logit_bias}
    if request.prediction is not None:
        fields["prediction"] = {"type": "content", "content": request.prediction}
    if request.token_ids:
        fields["return_token_ids"] = True
    if request.stream and request.include_usage:
        fields["stream_options"] = {"include_usage": True}
    return fields


def answer(request: Request, reply: Reply, vocabulary: Vocabulary) -> Answer:
    """Read a reply; a breach of the protocol is kept as `fault`, never raised."""
    blank = Answer(
        request, reply.status, reply.error, scheduled_s=reply.scheduled_s, sent_s=reply.sent_s, done_s=reply.done_s
    )
    if reply.error:
        return blank
    raw = b"".join(data for _, data in reply.chunks)
    if reply.status != 200:
        return replace(blank, fault=f"HTTP {reply.status}: {_shown(raw)}", error=_error(raw))
    try:
        payloads = list(_stream(reply)) if request.stream else [(reply.done_s, orjson.loads(raw))]
        collected = _Collected(request, vocabulary)
        for at_s, payload in payloads:
            collected.add(at_s, payload)
        return collected.fill(blank)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as breach:
        found = f"{type(breach).__name__}: {breach}"
        return replace(blank, fault=f"not a completion ({found}): {_shown(raw)}")


def _stream(reply: Reply) -> Iterator[tuple[float, Any]]:
    ended = False
    for at_s, line in lines(reply.chunks):
        if not line.startswith(b"data:"):
            continue
        if ended:
            raise ValueError("an event after data: [DONE]")
        content = line[5:].strip()
        if content == b"[DONE]":
            ended = True
        else:
            yield at_s, orjson.loads(content)
    if not ended:
        raise ValueError("the stream ended without data: [DONE]")


class _Collected:
    """Gathers the payloads of one reply into choices and events."""

    def __init__(self, request: Request, vocabulary: Vocabulary) -> None:
        self.request, self.vocabulary = request, vocabulary
        self.ids: dict[int, list[int]] = {}
        self.text: dict[int, list[str]] = {}
        self.reason: dict[int, str] = {}
        self.logprobs: dict[int, list[TokenLogprobs]] = {}
        self.events: list[Event] = []
        self.usage: tuple[int, int] | None = None
        self.prompt_ids: tuple[int, ...] | None = None
        self.with_ids = False

    def add(self, at_s: float, payload: dict[str, Any]) -> None:
        if "error" in payload:
            raise ValueError(f"an error event: {payload['error']}")
        if usage := payload.get("usage"):
            self.usage = (int(usage["prompt_tokens"]), int(usage["completion_tokens"]))
        if payload.get("prompt_token_ids") is not None:
            self.prompt_ids = tuple(int(i) for i in payload["prompt_token_ids"])
        for choice in payload["choices"]:
            self._choice(at_s, choice)

    def _choice(self, at_s: float, choice: dict[str, Any]) -> None:
        index = int(choice["index"])
        text, ids = str(choice.get("text") or ""), self._token_ids(choice.get("token_ids") or ())
        if choice.get("prompt_token_ids") is not None:
            self.prompt_ids = tuple(int(i) for i in choice["prompt_token_ids"])
        self.with_ids = self.with_ids or bool(ids)
        self.ids.setdefault(index, []).extend(ids)
        self.text.setdefault(index, []).append(text)
        if choice.get("finish_reason"):
            self.reason[index] = str(choice["finish_reason"])
        self.logprobs.setdefault(index, []).extend(_logprobs(choice.get("logprobs")))
        if ids or text:
            self.events.append(Event(at_s, index, len(ids), text))

    def fill(self, blank: Answer) -> Answer:
        choices = tuple(self._whole(index) for index in sorted(self.text))
        if len(choices) != self.request.n:
            raise ValueError(f"{len(choices)} choices where {self.request.n} were asked for")
        missing = [choice.index for choice in choices if not choice.finish_reason]
        fault = f"choice {missing[0]} has no finish_reason" if missing else ""
        events = tuple(self.events) if self.with_ids else tuple(self._counted())
        return replace(blank, fault=fault, choices=choices, events=events, usage=self.usage, prompt_ids=self.prompt_ids)

    def _token_ids(self, given: Sequence[Any]) -> list[int]:
        strange = [one for one in given if type(one) is not int or not 0 <= one < self.vocabulary.size]
        if strange:
            raise ValueError(f"{strange[0]!r} is not a token id of this model")
        return list(given)

    def _whole(self, index: int) -> Choice:
        text = "".join(self.text[index])
        ids = tuple(self.ids[index]) if self.with_ids else self._tokens(text)
        reason = self.reason.get(index, "")
        return Choice(index, ids, text, reason, tuple(self.logprobs[index]), not self.with_ids)

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.tokenizer.encode(text, add_special_tokens=False).ids)

    def _counted(self) -> Iterator[Event]:
        for event in self.events:
            yield Event(event.at_s, event.index, len(self._tokens(event.text)), event.text)


def _logprobs(field: dict[str, Any] | None) -> Iterator[TokenLogprobs]:
    if not field:
        return
    tops = field.get("top_logprobs") or [{}] * len(field["token_logprobs"])
    for chosen, top in zip(field["token_logprobs"], tops, strict=True):
        pairs = ((_token_id(key), float(value)) for key, value in (top or {}).items())
        yield TokenLogprobs(float(chosen), tuple((token, value) for token, value in pairs if token is not None))


def _token_id(key: str) -> int | None:
    prefix, _, number = key.partition(":")
    return int(number) if prefix == "token_id" and number.isdigit() else None


def _error(raw: bytes) -> tuple[str, str] | None:
    """The message and code of an error body in the contract's shape, or None."""
    try:
        fault = orjson.loads(raw)["error"]
        return str(fault["message"]), str(fault["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _shown(raw: bytes) -> str:
    return repr(raw[:160].decode("utf-8", "replace"))
