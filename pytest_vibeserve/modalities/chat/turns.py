"""Chats of several turns: messages before a turn, and the room that they take once they are written out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.workload import Request, Vocabulary

SPELT_AGAIN = 4
"""Tokens that the text of one token takes at most, on average over a free answer, when it is read as a prompt.

Half a letter is a token when it is generated, and the three bytes of a replacement character when it is quoted.
"""


def chats(requests: Sequence[Request]) -> list[ChatRequest]:
    """Requests that are chats all."""
    found = [request for request in requests if isinstance(request, ChatRequest)]
    assert len(found) == len(requests)
    return found


def marked(request: ChatRequest, before: Sequence[ChatRequest]) -> ChatRequest:
    """A turn with all messages before it; the client's marks stand for the assistant's."""
    said = [(earlier, f"@text:{earlier.id}") for earlier in before]
    return replace(request, messages=_joined(request, said))


def continued(request: ChatRequest, before: Sequence[Answer], template: Template) -> ChatRequest:
    """A turn with all messages before it as they were, and the ids that the template makes of them."""
    if not before:
        return request
    last = before[-1]
    assert isinstance(last.request, ChatRequest)
    text = last.choices[0].text if last.choices else ""
    messages = (*last.request.messages, Message("assistant", text), *_own(request))
    return _saying(request, messages, template)


def room(request: ChatRequest) -> int:
    """Tokens of a turn, and those of its answer when it is read again; a schema's limit is in bytes already."""
    return len(request.prompt_ids) + request.max_tokens * (1 if request.schema else SPELT_AGAIN)


def worded(request: ChatRequest, ids: Sequence[int], vocabulary: Vocabulary, template: Template) -> ChatRequest:
    """A free chat of one turn whose prompt, template included, begins with these words and is no longer than they."""
    words = list(ids)
    while True:
        messages = (Message("user", vocabulary.decode(words)),)
        beyond = len(template.ids(messages)) - len(ids)
        if beyond <= 0 or not words:
            break
        # From the end: prompts that shared a beginning still share it.
        del words[-beyond:]
    plain = replace(request, schema="", prediction=None, ignore_eos=request.ignore_eos or bool(request.schema))
    return _saying(plain, messages, template)


def _joined(request: ChatRequest, said: Sequence[tuple[ChatRequest, str]]) -> tuple[Message, ...]:
    found: list[Message] = []
    for earlier, answer in said:
        found += [*(_own(earlier) if found else earlier.messages), Message("assistant", answer)]
    return (*found, *(_own(request) if found else request.messages))


def _own(request: ChatRequest) -> tuple[Message, ...]:
    """What a later turn adds: a system speaks only at the beginning."""
    return tuple(message for message in request.messages if message.role != "system")


def _saying(request: ChatRequest, messages: tuple[Message, ...], template: Template) -> ChatRequest:
    ids = template.ids(messages)
    prompt_ids = Conditioned(ids, request.schema) if request.schema else ids
    return replace(request, messages=messages, prompt_ids=prompt_ids, prompt_text="")
