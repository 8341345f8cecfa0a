"""The request side of the OpenAI completions protocol: validation of a body into a `Request`."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from card import Card
from text import Vocabulary

SEEDS = 2**64


class RequestError(Exception):
    """A request that cannot be served: HTTP status and the fields of the error object."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        """Keep the parts; `status` is the HTTP status."""
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> bytes:
        """Return the JSON error object that the client gets."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """One validated request; choice number `p * n + k` is draw `k` of prompt `p`."""

    id: str
    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    stop: tuple[str, ...]
    n: int
    logprobs: int | None
    logit_bias: tuple[tuple[int, float], ...]
    stream: bool
    include_usage: bool
    ignore_eos: bool
    return_token_ids: bool
    tokens_as_ids: bool


class _StreamOptions(BaseModel):
    """`stream_options` of a body."""

    model_config = ConfigDict(frozen=True, strict=True)
    include_usage: bool = False


class _Body(BaseModel):
    """A body as it is written; fields that are absent or null take the defaults of the OpenAI API."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)
    model: str = ""
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=1)] = 16
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    seed: int | None = None
    stop: str | list[str] = Field(default_factory=list)
    n: Annotated[int, Field(ge=1, le=128)] = 1
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] = Field(default_factory=dict)
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    ignore_eos: bool = False
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False


def parse(raw: bytes, card: Card, vocabulary: Vocabulary) -> Request:
    """Return the request that `raw` asks for; RequestError says which field is at fault."""
    body = _read(raw)
    if body.model not in ("", card.name):
        raise RequestError(f"there is no model {body.model!r}", status=404, param="model", code="model_not_found")
    prompts = tuple(_checked(ids, card) for ids in _prompts(body.prompt, vocabulary))
    longest = max(map(len, prompts), default=0)
    if longest + body.max_tokens > card.context:
        message = f"{longest} prompt tokens and max_tokens {body.max_tokens} exceed the context of {card.context}"
        raise RequestError(message, param="max_tokens", code="context_length_exceeded")
    return Request(
        id=f"cmpl-{uuid.uuid4().hex}",
        prompts=prompts,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=max(body.top_k, 0),
        seed=None if body.seed is None else body.seed % SEEDS,
        stop=_stops(body.stop),
        n=body.n,
        logprobs=body.logprobs,
        logit_bias=_bias(body.logit_bias, card),
        stream=body.stream,
        include_usage=body.stream_options.include_usage,
        ignore_eos=body.ignore_eos,
        return_token_ids=body.return_token_ids,
        tokens_as_ids=body.return_tokens_as_token_ids,
    )


def _read(raw: bytes) -> _Body:
    """Validate the types and ranges of a body."""
    try:
        fields: Any = json.loads(raw)
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RequestError("the body is not a JSON object")
    try:
        return _Body.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = str(first["loc"][0])
        raise RequestError(f"{param}: {first['msg']}", param=param) from error


def _prompts(prompt: str | Sequence[Any], vocabulary: Vocabulary) -> list[Sequence[int]]:
    """Return the ids of each prompt."""
    if isinstance(prompt, str):
        return [vocabulary.encode(prompt)]
    if not prompt:
        raise RequestError("prompt: is empty", param="prompt")
    several: Sequence[Any] = [prompt] if isinstance(prompt[0], int) else prompt
    return [vocabulary.encode(one) if isinstance(one, str) else one for one in several]


def _checked(ids: Sequence[int], card: Card) -> tuple[int, ...]:
    """Return the ids when all are in the vocabulary and there is at least one."""
    if not ids:
        raise RequestError("prompt: holds an empty list of token ids", param="prompt")
    if min(ids) < 0 or max(ids) >= card.vocabulary:
        raise RequestError(f"prompt: token ids are 0 to {card.vocabulary - 1}", param="prompt")
    return tuple(ids)


def _stops(stop: str | list[str]) -> tuple[str, ...]:
    """Return the stop strings."""
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stops:
        raise RequestError("stop: an empty string stops nothing", param="stop")
    return stops


def _bias(bias: dict[str, float], card: Card) -> tuple[tuple[int, float], ...]:
    """Return the biases by token id."""
    if not all(key.isascii() and key.isdigit() and int(key) < card.vocabulary for key in bias):
        raise RequestError(f"logit_bias: keys are token ids, 0 to {card.vocabulary - 1}", param="logit_bias")
    return tuple((int(key), value) for key, value in bias.items())
