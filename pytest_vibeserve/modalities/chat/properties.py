"""What the fields of a chat must mean: the properties of completions that chats share, and their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import properties, refusals
from pytest_vibeserve.judge.agreement import described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.conversation import Breached, Conversation
from pytest_vibeserve.judge.draws import unlikely
from pytest_vibeserve.judge.interface import Way, ways_of
from pytest_vibeserve.judge.properties import Property
from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.modalities.chat.bench import ChatBench
from pytest_vibeserve.modalities.chat.requests import ChatWorkload, as_chat
from pytest_vibeserve.modalities.chat.tasks import texts
from pytest_vibeserve.modalities.chat.wire import PATH, ChatRequest, Message, body
from pytest_vibeserve.modalities.refusal import unrefused
from pytest_vibeserve.workload import Request

BAD_CHATS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("messages that are a string", {"messages": "hello"}),
    ("no messages", {"messages": []}),
    ("a message without content", {"messages": [{"role": "user"}]}),
    ("a negative max_tokens", {"max_tokens": -1}),
    ("a negative temperature", {"temperature": -0.5}),
    ("a model that is not served", {"model": "no-such-model"}),
)
BAD_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 7}}}


class ChatConversation(Conversation):
    """A conversation whose requests are chats."""

    path, route = PATH, "chats"

    def __init__(self, bench: ChatBench, auditor: Auditor, end_ids: frozenset[int]) -> None:
        """Bind to a server that speaks chat."""
        super().__init__(bench, auditor, end_ids)
        self._chats = bench

    def workload(self) -> ChatWorkload:
        """Chats that nobody can foresee."""
        return self._chats.wire.workload(self.random())

    def request(self, **given: Any) -> Request:
        """A fresh greedy chat; `given` fields override."""
        return as_chat(super().request(**given), self.workload())

    def filling(self, tokens: int) -> Request:
        """A greedy chat that asks for all that its prompt leaves of the context: `tokens`, or a few more."""
        workload, vocabulary, context = self.workload(), self.bench.vocabulary, self.bench.target.limits.context
        pieces = self.random().choices(vocabulary.spelt, k=context)

        def chat(count: int) -> ChatRequest:
            messages = (Message("user", vocabulary.decode(pieces[:count])),)
            return ChatRequest(id=0, prompt_ids=workload.template.ids(messages), max_tokens=tokens, messages=messages)

        least, most = 1, context
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (middle, most) if len(chat(middle).prompt_ids) + tokens <= context else (least, middle)
        found = chat(least)
        self._serial += 1
        room = context - len(found.prompt_ids)
        return replace(found, id=self._serial, max_tokens=room, stream=False, kind="interface")

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON body of a chat."""
        assert isinstance(request, ChatRequest)
        return body(request)

    def read(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        return self._chats.wire.answer(request, reply)

    def spelt(self, request: Request, **fields: Any) -> Answer:
        """The answer to a chat whose body is changed by `fields`."""
        return super().spelt(as_chat(request, self.workload()), **fields)


def turns(talk: Conversation) -> None:
    """Every turn of a chat is read: system, user and assistant, in their order, as the template says."""
    assert isinstance(talk, ChatConversation)
    first, workload = talk.request(max_tokens=5), talk.workload()
    assert isinstance(first, ChatRequest)
    said = talk.ask(first)[0].choices[0].text
    messages = (Message("system", "Go on."), *first.messages, Message("assistant", said), Message("user", "And then?"))
    ids = workload.template.ids(messages)
    if len(ids) + 5 <= workload.target.limits.context:
        talk.ask(replace(first, messages=messages, prompt_ids=ids, stream=talk.draw(st.booleans())))


def malformed(talk: Conversation) -> None:
    """A chat that is not JSON, lacks messages or holds a value out of range is refused with an error object."""
    request = talk.request(max_tokens=2)
    assert isinstance(request, ChatRequest)
    words, fields = talk.draw(st.sampled_from(BAD_CHATS))
    _refused(words, talk.send({**body(request), **fields}))
    talk.ask(talk.request(max_tokens=2))


def bad_schema(talk: Conversation) -> None:
    """A schema that is none is refused, and the server lives on."""
    request = talk.request(max_tokens=2)
    assert isinstance(request, ChatRequest)
    _refused("a schema that is none", talk.send({**body(request), "response_format": BAD_SCHEMA}))
    talk.ask(talk.request(max_tokens=2))


def constrained(talk: Conversation) -> None:
    """A constrained answer, streamed and whole, is a whole document of the schema; both are audited."""
    assert isinstance(talk, ChatConversation)
    chat = replace(talk.workload().constrained(1)[0], id=1)
    whole, streamed = talk.ask(replace(chat, stream=False), replace(chat, id=2, stream=True, include_usage=True))
    for answer in (whole, streamed):
        if answer.choices[0].finish_reason != "stop":
            raise Breached("a constrained answer with room enough did not end by itself", described(answer))


def draws(talk: Conversation) -> None:
    """The choices of n under a schema are independent draws, and so are the documents of two seeds."""
    assert isinstance(talk, ChatConversation)
    workload = talk.workload()
    chat = workload.of_task(texts(workload.draws), "interface", "")
    several = replace(chat, id=1, n=2, temperature=1.0, stream=talk.draw(st.booleans()))
    one, other = (replace(chat, id=number, temperature=1.0, seed=number) for number in (2, 3))
    found, seeded, reseeded = talk.ask(several, one, other)
    for answer, document in ((found, found.choices[-1]), (seeded, reseeded.choices[0])):
        if answer.choices[0].text == document.text and unlikely(talk.auditor, answer):
            raise Breached("one document is given where independent draws of it were asked for", described(answer))


def predictions(talk: Conversation) -> None:
    """A prediction, right, spoilt, empty or another's, changes nothing but the speed; every answer is audited."""
    assert isinstance(talk, ChatConversation)
    first = talk.request(max_tokens=8, stream=talk.draw(st.booleans()))
    assert isinstance(first, ChatRequest)
    said = talk.ask(first)[0].choices[0].text
    given = talk.draw(st.sampled_from([said, said[::-1], "", said[: len(said) // 2] + " something else"]))
    talk.ask(replace(first, prediction=given))


def _refused(what: str, reply: Reply) -> None:
    if wrong := unrefused(what, reply):
        raise Breached(wrong, what)


SHARED = (
    "max-tokens", "logprobs", "stop", "n", "seed", "logit-bias", "top-k", "stream", "end-token", "unknown-fields",
)  # fmt: skip


BESIDE = {"answer-length", "context-limit", "cancellation", "unicode"}
"""What the chats of a target that has completions too must keep beside what all chats must."""


def ways_beside(completions: Conversation, chats: ChatConversation) -> dict[str, tuple[Way, ...]]:
    """The properties of a target that has both routes, each on those that it holds on."""
    found = ways_of(completions)
    everywhere = {name: wanted for name, ((_, wanted),) in found.items() if name in BESIDE}
    for name, wanted in (chat_properties(schemas=False, predicted=False) | everywhere).items():
        found[name] = (*found.get(name, ()), (chats, wanted))
    return found


def chat_properties(schemas: bool, predicted: bool) -> dict[str, Property]:
    """The properties of a target's chats by name."""
    found = {name: properties.PROPERTIES[name] for name in SHARED}
    found |= {"turns": turns, "errors": malformed, "routes": refusals.routes}
    if schemas:
        found |= {"json-schema": constrained, "json-draws": draws, "bad-schema": bad_schema}
    if predicted:
        found["prediction"] = predictions
    return found
