"""A bench that speaks chat: whatever is asked goes out as a chat and comes back as the Judge's Answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.modalities.chat import turns
from pytest_vibeserve.modalities.chat.grammar import Grammar
from pytest_vibeserve.modalities.chat.requests import ChatWorkload, as_chat
from pytest_vibeserve.modalities.chat.template import Template
from pytest_vibeserve.modalities.chat.wire import ChatRequest, answer, exchange
from pytest_vibeserve.model_files import end_ids, setting
from pytest_vibeserve.report import Check
from pytest_vibeserve.session_turns import Session
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary


class ChatWire:
    """Chats of one target on the wire: fresh ones, their exchanges, and what their replies say."""

    def __init__(self, target: Target, vocabulary: Vocabulary, model: Path) -> None:
        """Read the model's template; its grammar is read on first use."""
        self.target, self.vocabulary, self.template = target, vocabulary, Template(model, vocabulary)
        self._model, self._ends = model, end_ids(model)

    @cached_property
    def grammar(self) -> Grammar | None:
        """The grammar of the target's schemas, None where it has none."""
        if not self.target.chat.schemas:
            return None
        size = setting(self._model, "vocab_size") or self.vocabulary.size
        return Grammar(self._model, sorted(self._ends), size, self.target.chat.whitespace)

    def workload(self, draws: random.Random) -> ChatWorkload:
        """An endless supply of chats for one purpose."""
        return ChatWorkload(self.target, self.vocabulary, self.template, draws)

    def fresh(self, draws: random.Random, count: int) -> list[Request]:
        """Fresh chats."""
        return list(self.workload(draws).requests(count))

    def exchange(self, request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
        """The exchange of a chat."""
        assert isinstance(request, ChatRequest)
        return exchange(request, timeout_s, at_s)

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        assert isinstance(request, ChatRequest)
        return self._closed(answer(request, reply, self.vocabulary))

    def turn(self, request: Request, before: Session, timeout_s: float) -> Exchange:
        """The exchange of a chat's later turn; marks stand for what the assistant is still to say."""
        assert isinstance(request, ChatRequest)
        return exchange(turns.marked(request, turns.chats(before)), timeout_s)

    def continued(self, request: Request, before: Sequence[Answer]) -> Request:
        """The turn with all messages before it."""
        assert isinstance(request, ChatRequest)
        return turns.continued(request, before, self.template)

    def room(self, request: Request) -> int:
        """Tokens that the turn and its answer take in a later turn's prompt."""
        assert isinstance(request, ChatRequest)
        return turns.room(request)

    def worded(self, request: Request, ids: Sequence[int]) -> Request:
        """A free chat that says these tokens' text."""
        assert isinstance(request, ChatRequest)
        return turns.worded(request, ids, self.vocabulary, self.template)

    def _closed(self, found: Answer) -> Answer:
        """The answer with the end token that a whole constrained answer needs not be followed by."""
        request = found.request
        if not (isinstance(request, ChatRequest) and request.schema and self.grammar and found.choices and self._ends):
            return found
        choices = tuple(self._ended(choice, request) for choice in found.choices)
        added = sum(len(new.ids) - len(old.ids) for new, old in zip(choices, found.choices, strict=True))
        usage = (found.usage[0], found.usage[1] + added) if found.usage else None
        room = replace(request, max_tokens=request.max_tokens + added)
        return replace(found, request=room, choices=choices, usage=usage)

    def _ended(self, choice: Choice, request: ChatRequest) -> Choice:
        assert self.grammar is not None
        open_ended = choice.finish_reason == "stop" and choice.ids[-1:] != ()
        if open_ended and choice.ids[-1] not in self._ends and self.grammar.complete(request.schema, choice.ids):
            return replace(choice, ids=(*choice.ids, min(self._ends)))
        return choice


class ChatBench:
    """The Judge's bench over another one; plain requests become chats of one turn."""

    def __init__(self, bench: Bench, wire: ChatWire) -> None:
        """Talk through `bench`."""
        self.target, self.vocabulary, self.depth = bench.target, bench.vocabulary, bench.depth
        self.wire, self._bench = wire, bench

    def draws(self, purpose: str) -> random.Random:
        """Random numbers for one purpose, from the gate's secret."""
        return self._bench.draws(purpose)

    def ask(self, requests: Sequence[Request], concurrency: int = 1) -> list[Answer]:
        """Answers in the order of the requests."""
        workload = self.wire.workload(random.Random(0))
        chats = [as_chat(request, workload) for request in requests]
        limit = self.target.limits.longest_wait_s
        replies = self._bench.exchange([self.wire.exchange(chat, limit) for chat in chats], concurrency)
        return [self.wire.answer(chat, reply) for chat, reply in zip(chats, replies, strict=True)]

    def exchange(self, exchanges: Sequence[Exchange], concurrency: int = 1) -> list[Reply]:
        """Raw replies in the order of the exchanges."""
        return self._bench.exchange(exchanges, concurrency)

    @contextmanager
    def relaunched(self, model: Path) -> Iterator[Bench]:
        """The same candidate on another folder of the model, on a bench of its own that speaks chat."""
        with self._bench.relaunched(model) as bench:
            yield ChatBench(bench, self.wire)

    def record(self, record: Check) -> None:
        """Keep a check for the report."""
        self._bench.record(record)
