"""Completions, and chats where a target has them too, on the wire in the form that all modalities share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import orjson

from pytest_vibeserve import completions
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.modalities.chat import turns
from pytest_vibeserve.modalities.chat import wire as chats
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.session_turns import Session
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload


@dataclass(frozen=True, slots=True)
class TextWire:
    """Completions and chats of one target."""

    target: Target
    vocabulary: Vocabulary

    def fresh(self, draws: random.Random, count: int) -> list[Request]:
        """Fresh completions by the target's mix."""
        return Workload(self.target, self.vocabulary, draws).take(count)

    def exchange(self, request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
        """The exchange of a completion."""
        if isinstance(request, ChatRequest):
            return chats.exchange(request, timeout_s, at_s)
        return completions.exchange(request, timeout_s, at_s)

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        if isinstance(request, ChatRequest):
            return chats.answer(request, reply, self.vocabulary)
        return completions.answer(request, reply, self.vocabulary)

    def turn(self, request: Request, before: Session, timeout_s: float) -> Exchange:
        """A turn as a chat, or as a list of ids: text may be cut into other tokens once more follows it."""
        if isinstance(request, ChatRequest):
            return chats.exchange(turns.marked(request, turns.chats(before)), timeout_s)
        said: list[int | str] = []
        for earlier in before:
            said += [*earlier.prompt_ids, f"@ids:{earlier.id}"]
        fields = completions.body(request) | {"prompt": [*said, *request.prompt_ids]}
        return replace(completions.exchange(request, timeout_s), body=orjson.dumps(fields))

    def continued(self, request: Request, before: Sequence[Answer]) -> Request:
        """The turn with what the last turn asked and was answered before its own."""
        if isinstance(request, ChatRequest):
            return turns.continued(request, before, _template(self.vocabulary))
        said: tuple[int, ...] = ()
        for last in before[-1:]:
            said = (*last.request.prompt_ids, *(token for choice in last.choices[:1] for token in choice.ids))
        return replace(request, prompt_ids=(*said, *request.prompt_ids), prompt_text="")

    def room(self, request: Request) -> int:
        """Prompt and answer, token for token where they stay ids."""
        if isinstance(request, ChatRequest):
            return turns.room(request)
        return len(request.prompt_ids) + request.max_tokens

    def worded(self, request: Request, ids: Sequence[int]) -> Request:
        """The request with exactly these ids, or their text; what its own prompt led to expect is expected no more."""
        if isinstance(request, ChatRequest):
            return turns.worded(request, ids, self.vocabulary, _template(self.vocabulary))
        return replace(request, prompt_ids=tuple(ids), prompt_text="", prediction=None)


@lru_cache(maxsize=4)
def _template(vocabulary: Vocabulary) -> Template:
    """Read where the first chat asks for it: most targets of text have none."""
    return Template(vocabulary.model, vocabulary)
