"""The chats of the audit: free ones, constrained ones with their twins and decoys, and predictions of every kind."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.modalities.chat.tasks import Task, decoys, same_fields, same_schema, same_shape, same_words, task
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload

SYSTEMS = ("", "Answer briefly.", "You fill in records.", "Keep to the facts that are given.")
SAMPLED = 6
"""One of so many constrained chats is sampled: its tokens are draws from what the grammar leaves."""

WHITESPACE = {"compact": 1.0, "spaced": 1.5, "any": 4.0}
"""How many times the bytes of a compact answer one may take."""


@dataclass(frozen=True, slots=True)
class ChatWorkload:
    """Draws chats by a target's mix and `[chat]` table."""

    target: Target
    vocabulary: Vocabulary
    template: Template
    draws: random.Random

    def requests(self, count: int) -> list[ChatRequest]:
        """Fresh chats: the target's share of them constrained; half streamed; numbered from 0.

        They are as the target's own `workload.py` shapes them, where it has one.
        """
        constrained = int(count * self.target.chat.constrained) if self.target.chat.schemas else 0
        found = [*self.constrained(constrained), *self.free(count - constrained)]
        drawn = list[Request](numbered(self.draws.sample(found, len(found))))
        return [as_chat(one, self) for one in Workload(self.target, self.vocabulary, self.draws).shaped(drawn)]

    def free(self, count: int) -> list[ChatRequest]:
        """Chats without a schema, with the flags that completions are drawn with; some after a system's turn."""
        drawn = Workload(self.target, self.vocabulary, self.draws).requests()
        return [self.after_system(as_chat(request, self)) for request in islice(drawn, count)]

    def after_system(self, chat: ChatRequest, system: str | None = None) -> ChatRequest:
        """A chat of one turn, after that system's or one that is drawn; an empty one is none."""
        words = self.draws.choice(SYSTEMS) if system is None else system
        if not words:
            return chat
        messages = (Message("system", words), *chat.messages)
        return self._fitted(replace(chat, messages=messages, prompt_ids=self.template.ids(messages)))

    def _fitted(self, chat: ChatRequest) -> ChatRequest:
        room = self.target.limits.context - len(chat.prompt_ids)
        return replace(chat, max_tokens=min(chat.max_tokens, room))

    def constrained(self, count: int) -> list[ChatRequest]:
        """Chats with a schema: plain ones, twins of their schema, wording, shape and fields, and decoys; some sampled.

        Twins come after the same system's turn: nothing but the wording, the schema, the values that its fields may
        have, or their order, tells them apart.
        """
        found: list[ChatRequest] = []
        while len(found) < count:
            first, system = task(self.draws), self.draws.choice(SYSTEMS)
            drawn = (
                ("json", first), ("schema twin", same_schema(first, self.draws)),
                ("wording twin", same_words(first, self.draws)), ("decoy", decoys(self.draws)),
                ("shape twin", same_shape(first, self.draws)), ("order twin", same_fields(first)),
            )  # fmt: skip
            found += [self.of_task(given, kind, system) for kind, given in drawn]
        place = self.draws.randrange(SAMPLED)
        return [
            replace(chat, temperature=1.0) if index % SAMPLED == place else chat
            for index, chat in enumerate(found[:count])
        ]

    def of_task(self, given: Task, kind: str, system: str) -> ChatRequest:
        """A task as a chat with room for its longest answer and an end token."""
        room = int(given.longest * WHITESPACE[self.target.chat.whitespace]) + 2
        chat = self.chat(given.words, max_tokens=room, kind=kind, system=system)
        return replace(
            chat, schema=given.schema, prompt_ids=Conditioned(chat.prompt_ids, given.schema), ignore_eos=False
        )

    def chat(self, content: str, *, max_tokens: int, kind: str = "chat", system: str | None = None) -> ChatRequest:
        """One user's turn, greedy, streamed or whole, after that system's or one that is drawn."""
        chat = ChatRequest(
            id=0, prompt_ids=self.template.ids((Message("user", content),)), max_tokens=max_tokens, kind=kind,
            stream=self.draws.random() < 0.5, messages=(Message("user", content),),
        )  # fmt: skip
        return self.after_system(self._fitted(chat), system)

    def predicted(self, answers: Sequence[Answer]) -> list[ChatRequest]:
        """Answered chats again with a prediction: the answer itself, a spoilt one, nothing, and somebody else's."""
        spoken = [answer for answer in answers if answer.choices and isinstance(answer.request, ChatRequest)]
        found = []
        for index, answer in enumerate(spoken):
            text, other = answer.choices[0].text, self.draws.choice(spoken).choices[0].text
            kind, prediction = (
                ("right", text), ("spoilt", self._spoilt(text)), ("empty", ""), ("foreign", other),
            )[index % 4]  # fmt: skip
            assert isinstance(answer.request, ChatRequest)
            found.append(replace(answer.request, prediction=prediction, kind=f"{kind} prediction"))
        return numbered(found)

    def _spoilt(self, text: str) -> str:
        place = self.draws.randrange(len(text) + 1)
        return text[:place] + self.draws.choice(("x", " 7", "é")) + text[place + self.draws.randint(0, 3) :]


def numbered(requests: Sequence[ChatRequest]) -> list[ChatRequest]:
    """The requests with ids from 0 on."""
    return [replace(request, id=index) for index, request in enumerate(requests)]


def as_chat(request: Request, workload: ChatWorkload) -> ChatRequest:
    """Any request as a chat of one turn that says its prompt; a chat stays as it is."""
    if isinstance(request, ChatRequest):
        return request
    content = request.prompt_text or workload.vocabulary.decode(request.prompt_ids)
    messages = (Message("user", content),)
    given = {field.name: getattr(request, field.name) for field in fields(Request)}
    ids = workload.template.ids(messages)
    room = workload.target.limits.context - len(ids)
    given |= {"prompt_ids": ids, "prompt_text": "", "max_tokens": min(request.max_tokens, room)}
    return ChatRequest(**given, messages=messages)
