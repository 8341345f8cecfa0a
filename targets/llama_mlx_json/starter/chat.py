"""The chat protocol: bodies into requests, tokens into choices."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from decoding import Choosing, Step, logprobs

INCOMPLETE = "\ufffd"


class Refused(Exception):
    """A request that cannot be served: what to say, and the HTTP status."""

    def __init__(self, message: str, status: int = 400, code: str = "invalid") -> None:
        """Keep the parts."""
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        return {"error": {"message": str(self), "type": "invalid_request_error", "param": None, "code": self.code}}


@dataclass(frozen=True, slots=True)
class Request:
    """One chat that can be served."""

    messages: list[dict[str, str]]
    max_tokens: int
    choosing: Choosing
    n: int
    seed: int | None
    stop: tuple[str, ...]
    top_logprobs: int | None
    schema: dict[str, Any] | None
    stream: bool
    include_usage: bool
    ignore_eos: bool
    with_ids: bool


def parse(raw: bytes, name: str, vocabulary: int) -> Request:
    """The request that a body makes; Refused says what is wrong with it."""
    try:
        body = json.loads(raw)
        messages = body["messages"]
        if not isinstance(messages, list) or not messages or not all(_is_turn(one) for one in messages):
            raise Refused("messages must be a list of objects with role and content")
        if body.get("model", name) != name:
            raise Refused(f"there is no model {body['model']!r}", 404, "model_not_found")
        given = {key: value for key, value in body.items() if value is not None}
        bias = tuple((int(key), float(value)) for key, value in given.get("logit_bias", {}).items())
        stop = given.get("stop", ())
        choosing = Choosing(
            float(given.get("temperature", 1)), float(given.get("top_p", 1)), int(given.get("top_k", 0)), bias
        )
        found = Request(
            messages, given.get("max_tokens", 256), choosing, int(given.get("n", 1)), given.get("seed"),
            (stop,) if isinstance(stop, str) else tuple(stop),
            int(given.get("top_logprobs", 0)) if given.get("logprobs") else None, _schema(given),
            bool(given.get("stream")), bool(given.get("stream_options", {}).get("include_usage")),
            bool(given.get("ignore_eos")), bool(given.get("return_token_ids")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise Refused(f"the body cannot be read: {type(fault).__name__}: {fault}") from fault
    if type(found.max_tokens) is not int or found.max_tokens < 1 or not 1 <= found.n <= 16:
        raise Refused("max_tokens and n must be whole numbers of at least 1")
    if choosing.temperature < 0 or not 0 < choosing.top_p <= 1 or any(not 0 <= t < vocabulary for t, _ in bias):
        raise Refused("temperature, top_p or logit_bias is out of range")
    return found


def _is_turn(given: Any) -> bool:
    return isinstance(given, dict) and isinstance(given.get("content"), str) and isinstance(given.get("role"), str)


def _schema(given: dict[str, Any]) -> dict[str, Any] | None:
    wanted = given.get("response_format", {"type": "text"})
    return wanted["json_schema"]["schema"] if wanted["type"] == "json_schema" else None


@dataclass(slots=True)
class Choice:
    """One answer while it grows; `reason` says why it ended, "" while it has not."""

    request: Request
    tokenizer: Tokenizer
    ends: frozenset[int]
    ids: list[int] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)
    text: str = ""
    reason: str = ""
    shown: int = 0
    told: int = 0

    def add(self, step: Step) -> None:
        """Take the tokens of a step, as far as they are wanted."""
        for token, logits in zip(step.ids, step.logits, strict=True):
            self.ids.append(token)
            self.logits.append(logits)
            if self._ended(token):
                return

    def _ended(self, token: int) -> bool:
        whole = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        places = [place for stop in self.request.stop if (place := whole.find(stop)) >= 0]
        self.text = whole[: min(places)] if places else whole
        if places or (token in self.ends and not self.request.ignore_eos):
            self.reason = "stop"
        elif len(self.ids) >= self.request.max_tokens:
            self.reason = "length"
        return bool(self.reason)

    def piece(self) -> dict[str, Any]:
        """What has become certain since the last piece, as a choice of a stream."""
        ready = self.text if self.reason else self._safe()
        delta = {"content": ready[self.shown :]}
        found = {"delta": delta, **self._rest(self.told)}
        self.shown, self.told = max(self.shown, len(ready)), len(self.ids)
        return found

    def whole(self) -> dict[str, Any]:
        """All of it, as a choice."""
        return {"message": {"role": "assistant", "content": self.text}, **self._rest(0)}

    def _safe(self) -> str:
        """What may be shown before the end: no half character, nothing that may become a stop string."""
        longest = max((len(stop) for stop in self.request.stop), default=0)
        text = self.text.rstrip(INCOMPLETE)
        return text[: max(self.shown, len(text) - longest)] if longest else text

    def _rest(self, start: int) -> dict[str, Any]:
        found: dict[str, Any] = {"finish_reason": self.reason or None}
        if self.request.with_ids:
            found["token_ids"] = self.ids[start:]
        if self.request.top_logprobs is not None:
            found["logprobs"] = {"content": [self._entry(place) for place in range(start, len(self.ids))]}
        return found

    def _entry(self, place: int) -> dict[str, Any]:
        values, token = logprobs(self.logits[place]), self.ids[place]
        best = np.argsort(-values)[: self.request.top_logprobs]
        tops = [{"token": f"token_id:{one}", "logprob": float(values[one])} for one in best]
        return {"token": f"token_id:{token}", "logprob": float(values[token]), "top_logprobs": tops}
