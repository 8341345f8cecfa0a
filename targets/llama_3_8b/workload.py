"""What is asked of llama_3_8b: half of it chats of one or more turns, in the words of a data set where one is given.

`VIBESERVE_DATA_CONVERSATIONS` names a JSON file in the layout of ShareGPT: a list of objects whose `conversations` are
turns with `from` and `value`.  A public prompt may be known to anybody, so each gets a fresh note at its end.
"""

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.chat.requests import ChatWorkload, as_chat
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest, Message
from pytest_vibeserve.workload import Request, Workload

CONVERSATIONS = "VIBESERVE_DATA_CONVERSATIONS"
CHATS, LATER_TURNS = 0.5, 0.3
NOTE_BITS = 64


def shaped(requests: list[Request], workload: Workload) -> list[Request]:
    """The requests, half of them as chats, in the words of the data set where there is one."""
    path = os.environ.get(CONVERSATIONS)
    worded = [_worded(request, _prompts(Path(path)), workload) for request in requests] if path else requests
    chats = ChatWorkload(workload.target, workload.vocabulary, _template(workload.vocabulary.model), workload.draws)
    return [_chat(request, chats) if workload.draws.random() < CHATS else request for request in worded]


def _chat(request: Request, chats: ChatWorkload) -> ChatRequest:
    """The request as a chat: at times after a system's turn, or after a turn of each side."""
    chat = chats.after_system(as_chat(request, chats))
    if chats.draws.random() >= LATER_TURNS:
        return chat
    before = (Message("user", _words(chats)), Message("assistant", _words(chats)))
    messages = (*chat.messages[:-1], *before, chat.messages[-1])
    ids = chats.template.ids(messages)
    room = chats.target.limits.context - len(ids)
    return replace(chat, messages=messages, prompt_ids=ids, max_tokens=min(chat.max_tokens, room))


def _words(chats: ChatWorkload) -> str:
    return chats.vocabulary.decode(chats.draws.choices(chats.vocabulary.spelt, k=chats.draws.randint(2, 12))).strip()


def _worded(request: Request, prompts: tuple[str, ...], workload: Workload) -> Request:
    """A prompt of the data set, cut to the request's length, with a note that nobody can have seen before."""
    note = f" (note {workload.draws.getrandbits(NOTE_BITS):x})"
    room = len(request.prompt_ids) - len(workload.vocabulary.encode(note))
    kept = workload.vocabulary.encode(workload.draws.choice(prompts))[: max(room, 1)]
    text = workload.vocabulary.decode(kept) + note
    ids = workload.vocabulary.encode(text)
    fits = len(ids) + request.max_tokens <= workload.target.limits.context
    return replace(request, prompt_text=text, prompt_ids=ids) if fits else request


@cache
def _prompts(path: Path) -> tuple[str, ...]:
    try:
        conversations = json.loads(path.read_text(encoding="utf-8"))
        found = [turn["value"] for one in conversations for turn in one["conversations"][:1] if turn["value"].strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{CONVERSATIONS}={path} is no list of conversations in ShareGPT's layout: {error}") from error
    if not found:
        raise UsageError(f"{CONVERSATIONS}={path} holds no conversation")
    return tuple(found)


@cache
def _template(model: Path) -> Template:
    from pytest_vibeserve.workload import Vocabulary

    return Template(model, Vocabulary(model))
