"""The Judge of a target that serves chats beside completions: what must hold is asked on both routes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.conversation import Conversation
from pytest_vibeserve.judge.crowd import Crowd
from pytest_vibeserve.judge.interface import Way
from pytest_vibeserve.judge.relations import Prompts
from pytest_vibeserve.judge.repeats import Spoken
from pytest_vibeserve.modalities.chat.bench import ChatBench, ChatWire
from pytest_vibeserve.modalities.chat.properties import ChatConversation, ways_beside
from pytest_vibeserve.modalities.chat.requests import ChatWorkload, as_chat
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.workload import Request


class ChatPrompts(Prompts):
    """The prompts of relations as chats of one turn: related texts, where completions have related ids."""

    def __init__(self, bench: Bench, draws: random.Random, chats: ChatWorkload) -> None:
        """Bind to a target, one stream of random numbers, and the model's template."""
        super().__init__(bench, draws)
        self._chats = chats

    def told(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Which tokens stand in the prompt, once each: the text is cut anew."""
        text = self.bench.vocabulary.decode(ids)
        return tuple(dict.fromkeys(self.bench.vocabulary.tokenizer.encode(text, add_special_tokens=False).ids))

    def _whole(self, request: Request) -> Request:
        return as_chat(super()._whole(request), self._chats)


class JudgeOfBoth(Judge):
    """What a test asks for by the fixture `judge` where a text target serves chats too."""

    def __init__(
        self, bench: Bench, model: Path, auditor: Callable[[], Auditor] | None = None, sampling: int = 1
    ) -> None:
        """Bind to one served candidate; the rest as the Judge of completions has it."""
        super().__init__(bench, model, auditor, sampling)
        self.chats = ChatBench(bench, ChatWire(bench.target, bench.vocabulary, model))

    def _ways(self) -> Mapping[str, Sequence[Way]]:
        completions = Conversation(self._bench, self.auditor, self.end_ids)
        return ways_beside(completions, ChatConversation(self.chats, self.auditor, self.end_ids))

    def _crowd(self) -> Crowd:
        draws = self._bench.draws("sessions")
        chats = ChatPrompts(self._bench, draws, self.chats.wire.workload(draws))
        wire = TextWire(self._bench.target, self._bench.vocabulary)
        return Crowd(Prompts(self._bench, draws), chats, wire=wire)

    def _routes(self) -> Mapping[str, Spoken]:
        chats = self.chats.wire.workload(self._bench.draws("repeats"))
        return {**super()._routes(), "repeats.chats": partial(as_chat, workload=chats)}
