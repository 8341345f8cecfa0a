"""OpenAI completions around any engine of token ids: a body into jobs, ids into text, text into JSON."""

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from text import Text

DONE = b"data: [DONE]\n\n"


class Refusal(Exception):
    """A request that cannot be served, with the HTTP status and the fields of its error object."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        """Keep the parts."""
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def body(self) -> bytes:
        """Return the JSON error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return orjson.dumps({"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}})


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is asked for: one sequence; `temperature` 0 is greedy, `top_k` 0 and `top_p` 1 are off.

    `logprobs` is how many of the most likely tokens are wanted beside the chosen one, None for no logprobs at all.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    ignore_eos: bool
    logprobs: int | None
    logit_bias: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Token:
    """What an engine gives: an id and, where the job asks for them, natural logprobs of it and of the most likely."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class _StreamOptions(BaseModel):
    include_usage: bool = False


class Body(BaseModel):
    """The fields of a request that are served or refused; others are ignored, null is absent."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)
    model: str = ""
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: Annotated[int, Field(ge=1)] = 16
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    seed: int | None = None
    stop: str | list[str] = ""
    n: Annotated[int, Field(ge=1, le=128)] = 1
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] = Field(default_factory=dict)
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    ignore_eos: bool = False
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False

    @property
    def several(self) -> bool:
        """Whether more than one prompt is asked for."""
        return len(self.prompts) > 1

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, each as text or as ids."""
        if isinstance(self.prompt, list) and self.prompt and not isinstance(self.prompt[0], int):
            return cast(list[str | list[int]], self.prompt)
        return [cast(str | list[int], self.prompt)]


def read(raw: bytes) -> Body:
    """Return the checked fields of a body; Refusal names the field at fault."""
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Refusal("the body is not a JSON object")
    try:
        return Body.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise Refusal(f"{first['loc'][0]}: {first['msg']}", str(first["loc"][0])) from error


class Card:
    """Name, context in tokens, vocabulary size and end ids of the model in a folder, and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Read config.json and tokenizer.json; KeyError when a field is missing."""
        config = orjson.loads((folder / "config.json").read_bytes())
        eos = config["eos_token_id"]
        self.name = folder.resolve().name
        self.context: int = config["max_position_embeddings"]
        self.vocabulary: int = config["vocab_size"]
        self.eos_ids: frozenset[int] = frozenset(eos if isinstance(eos, list) else [eos])
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def jobs(self, body: Body) -> list[Job]:
        """Return the choices that are asked for, `n` to each prompt; Refusal when one cannot be served."""
        if body.model not in ("", self.name):
            raise Refusal(f"there is no model {body.model!r}", "model", "model_not_found", 404)
        return [self._job(body, prompt, draw) for prompt in body.prompts for draw in range(body.n)]

    def _job(self, body: Body, prompt: str | list[int], draw: int) -> Job:
        ids = self._encode(prompt) if isinstance(prompt, str) else prompt
        if not ids or not all(0 <= token < self.vocabulary for token in ids):
            raise Refusal("prompt: is empty or holds an id outside the vocabulary", "prompt")
        if len(ids) + body.max_tokens > self.context:
            message = f"{len(ids)} prompt tokens and max_tokens {body.max_tokens} exceed the context of {self.context}"
            raise Refusal(message, "max_tokens", "context_length_exceeded")
        seed = None if body.seed is None else (body.seed + draw) % 2**32
        limits = (body.temperature, body.top_p, max(body.top_k, 0))
        return Job(tuple(ids), body.max_tokens, *limits, seed, body.ignore_eos, body.logprobs, self._bias(body))

    def _bias(self, body: Body) -> tuple[tuple[int, float], ...]:
        for token in body.logit_bias:
            if not token.isascii() or not token.isdigit() or int(token) >= self.vocabulary:
                raise Refusal(f"logit_bias: {token!r} is not a token id of this model", "logit_bias")
        return tuple((int(token), bias) for token, bias in body.logit_bias.items())

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8")).ids
        return ids


class Choice:
    """One sequence of an answer: takes tokens as they come, says what they show and when it has ended."""

    def __init__(self, index: int, job: Job, body: Body, card: Card) -> None:
        """Begin with no tokens."""
        self.index = index
        self.tokens = 0
        self.finish_reason: Literal["stop", "length"] | None = None
        # Of several prompts each choice carries its own, in its first event.
        self._prompt = list(job.prompt) if body.return_token_ids and body.several else None
        self._limit = job.max_tokens
        self._ends = frozenset[int]() if job.ignore_eos else card.eos_ids
        self._body = body
        self._tokenizer = card.tokenizer
        self._text = Text(card.tokenizer, body.stop)
        self._characters = 0

    def take(self, tokens: list[Token]) -> dict[str, Any]:
        """Return the choice object for new tokens; none are to follow once `finish_reason` is set."""
        ids = [token.id for token in tokens]
        self.tokens += len(ids)
        ended = ids[-1] in self._ends
        full = self.tokens >= self._limit
        text, stopped = self._text.add(ids, ended or full)
        self.finish_reason = "stop" if ended or stopped else "length" if full else None
        given = [token for token in tokens if token.logprob is not None]
        logprobs = self._logprobs(given) if given else None
        shown = {"index": self.index, "text": text, "logprobs": logprobs, "finish_reason": self.finish_reason}
        self._characters += len(text)
        if self._body.return_token_ids:
            shown["token_ids"] = ids
        if self._prompt is not None:
            shown["prompt_token_ids"], self._prompt = self._prompt, None
        return shown

    def _logprobs(self, tokens: list[Token]) -> dict[str, Any]:
        return {
            "tokens": [self._spelt(token.id) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{self._spelt(one): value for one, value in reversed(token.top)} for token in tokens],
            "text_offset": [self._characters] * len(tokens),
        }

    def _spelt(self, token: int) -> str:
        if self._body.return_tokens_as_token_ids:
            return f"token_id:{token}"
        return str(self._tokenizer.decode([token], skip_special_tokens=False))


class Answer:
    """The JSON around the choices of one request."""

    def __init__(self, body: Body, jobs: list[Job], card: Card) -> None:
        """Give the answer its id."""
        self._body = body
        self._prompts = [list(job.prompt) for job in jobs[:: body.n]]
        self._head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time())}
        self._head["model"] = card.name

    def said(self, choice: dict[str, Any], _: str) -> dict[str, Any]:
        """Return a choice object, of an event ("delta") or of a whole answer ("message"), as it is told."""
        return choice

    def frame(self, choices: list[dict[str, Any]], first: bool) -> bytes:
        """Return one server-sent event."""
        prompt, said = self._prompt_ids() if first else {}, [self.said(choice, "delta") for choice in choices]
        return b"data: " + orjson.dumps(self._head | prompt | {"choices": said}) + b"\n\n"

    def closing(self, choices: list[Choice]) -> bytes:
        """Return the last lines of a stream."""
        if not self._body.stream_options.include_usage:
            return DONE
        return b"data: " + orjson.dumps(self._head | {"choices": [], "usage": self._usage(choices)}) + b"\n\n" + DONE

    def whole(self, shown: list[list[dict[str, Any]]], choices: list[Choice]) -> bytes:
        """Return the JSON of a complete answer, from the choice objects of each choice."""
        merged = [self.said(_merge(parts), "message") for parts in shown]
        return orjson.dumps(self._head | self._prompt_ids() | {"choices": merged, "usage": self._usage(choices)})

    def _prompt_ids(self) -> dict[str, Any]:
        alone = self._body.return_token_ids and not self._body.several
        return {"prompt_token_ids": self._prompts[0]} if alone else {}

    def _usage(self, choices: list[Choice]) -> dict[str, int]:
        prompt, answer = sum(map(len, self._prompts)), sum(choice.tokens for choice in choices)
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    whole = parts[0] | parts[-1] | {"text": "".join(part["text"] for part in parts)}
    if "token_ids" in whole:
        whole["token_ids"] = [token for part in parts for token in part["token_ids"]]
    said = [part["logprobs"] for part in parts if part["logprobs"]]
    whole["logprobs"] = {name: [one for part in said for one in part[name]] for name in said[0]} if said else None
    return whole
