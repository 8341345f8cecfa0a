"""Completions, and chats where a target has them too, on the wire in the form that all modalities share."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pytest_vibeserve import completions
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.modalities.chat import wire as chats
from pytest_vibeserve.modalities.chat.wire import ChatRequest
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
