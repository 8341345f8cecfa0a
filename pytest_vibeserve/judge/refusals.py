"""What a server must refuse, how it says so, and that it lives on: errors, the context's limit, cancelled streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st

from pytest_vibeserve.completions import body
from pytest_vibeserve.judge.conversation import Breached, Conversation
from pytest_vibeserve.judge.properties import Property
from pytest_vibeserve.load_generator import Reply

ERROR_FIELDS = {"message", "type", "param", "code"}

BAD_FIELDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("a negative max_tokens", {"max_tokens": -1}),
    ("a negative temperature", {"temperature": -0.5}),
    ("top_p above one", {"top_p": 1.5}),
    ("n of nought", {"n": 0}),
    ("a prompt that is a number", {"prompt": 7}),
    ("max_tokens in words", {"max_tokens": "many"}),
    ("a token id below nought", {"prompt": [-1]}),
    ("a model that is not served", {"model": "no-such-model"}),
)


def malformed(talk: Conversation) -> None:
    """A body that is not JSON, lacks a prompt or holds a value out of range is refused with an error object."""
    request = talk.request(max_tokens=2)
    whole = body(request)
    kind = talk.draw(st.integers(0, len(BAD_FIELDS) + 1))
    if kind == 0:
        _refused("a body that is not JSON", talk.send(orjson.dumps(whole)[:-5]))
    elif kind == 1:
        _refused("a missing prompt", talk.send({key: value for key, value in whole.items() if key != "prompt"}))
    else:
        words, fields = BAD_FIELDS[kind - 2]
        _refused(words, talk.send({**whole, **fields}))
    talk.ask(talk.request(max_tokens=2))


def routes(talk: Conversation) -> None:
    """`/v1/models` has one entry, which may be asked for by name; a route that does not exist is a 404."""
    models = talk.send(b"", "/v1/models", "GET")
    try:
        names = [str(entry["id"]) for entry in orjson.loads(models.body)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Breached("/v1/models does not list its models", _shown(models)) from error
    if models.status != 200 or len(names) != 1:
        raise Breached(f"/v1/models lists {len(names)} models with status {models.status}", _shown(models))
    request = talk.request(max_tokens=2)
    talk.checked([talk.spelt(request, model=names[0])])
    missing = talk.send(b"", "/v1/no-such-route", "GET")
    if missing.status != 404:
        raise Breached(f"a route that does not exist gives {missing.status}, not 404", _shown(missing))


def context_limit(talk: Conversation) -> None:
    """The target's context may be filled to the last token; beyond the model's own is a 400 `context_length_exceeded`.

    A server may go on to where the model ends, and need not.
    """
    full = replace(talk.filling(talk.draw(st.integers(4, 12))), logprobs=5)
    talk.ask(full)
    room = max(talk.bench.target.limits.context, _context(talk)) - len(full.prompt_ids)
    beyond = talk.send(talk.body(replace(full, max_tokens=room + 1)))
    code = _refused("one token more than the context", beyond)
    if beyond.status != 400 or code != "context_length_exceeded":
        raise Breached(
            f"one token beyond the context gives {beyond.status} with code {code!r}, not 400 context_length_exceeded",
            _shown(beyond),
        )


def _context(talk: Conversation) -> int:
    """The most tokens that the model's own configuration knows of, 0 where it names none."""
    path = talk.auditor.reference.folder / "config.json"
    stated = orjson.loads(path.read_bytes()).get("max_position_embeddings") if path.is_file() else None
    return int(stated or 0)


def cancellation(talk: Conversation) -> None:
    """A client that leaves in mid-stream disturbs nobody, and its prompt can be asked for again."""
    gone = talk.request(max_tokens=24, stream=True)
    beside = [talk.request(max_tokens=5, stream=bool(index % 2)) for index in range(2)]
    left = replace(talk.exchange(talk.body(gone)), cancel_after_s=talk.draw(st.sampled_from([0.02, 0.05, 0.1])))
    others = [talk.exchange(talk.body(request)) for request in beside]
    replies = talk.bench.exchange([left, *others], 3)[1:]
    talk.checked([talk.read(request, reply) for request, reply in zip(beside, replies, strict=True)])
    talk.ask(replace(gone, max_tokens=5))


def _refused(what: str, reply: Reply) -> str:
    """The error's code; anything but a 4xx with the contract's error object is a breach."""
    if not 400 <= reply.status < 500:
        raise Breached(f"{what} gives status {reply.status or reply.error!r}, not a 4xx", _shown(reply))
    try:
        error = orjson.loads(reply.body)["error"]
        missing = ERROR_FIELDS - set(error)
        code = str(error.get("code"))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as fault:
        raise Breached(f"{what} is refused without an error object", _shown(reply)) from fault
    if missing:
        raise Breached(f"{what} is refused with an error object that lacks {sorted(missing)}", _shown(reply))
    return code


def _shown(reply: Reply) -> str:
    return f"status {reply.status} {reply.error}: {reply.body[:200].decode('utf-8', 'replace')!r}"


REFUSALS: dict[str, Property] = {
    "errors": malformed,
    "routes": routes,
    "context-limit": context_limit,
    "cancellation": cancellation,
}
