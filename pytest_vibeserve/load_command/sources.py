"""What a level of load sends: fresh words, sessions of them, a recorded trace, or recorded conversations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from string import ascii_letters, ascii_lowercase
from typing import Protocol

import orjson

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_command.answers import read
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.trace_windows import Window, prompts
from pytest_vibeserve.traces import Conversation
from pytest_vibeserve.workload import Request

BYTES_A_TOKEN = 4
"""What a text is taken to cost where no tokenizer is at hand."""

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it is sent; `input_tokens` is exact where `is_exact` says so, otherwise an estimate.

    `blocks` are a trace's names of its prompt's beginning; `session` is one number for all turns of a session.
    """

    exchange: Exchange
    request: Request
    input_tokens: int
    is_exact: bool = False
    blocks: tuple[int, ...] = ()
    session: int | None = None


class Source(Protocol):
    """Where requests come from: other ones each time, for a server may remember."""

    def requests(self, count: int | None) -> list[Asked]:
        """So many requests, numbered from 0; None is all of a record, and nothing of what has no end."""

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""


@dataclass(frozen=True, slots=True)
class Form:
    """What all requests of a command have in common."""

    prefix: str
    is_chat: bool
    model: str
    timeout_s: float
    draws: random.Random

    def asked(self, id: int, said: Sequence[str], tokens: int, after: int | None = None) -> Asked:
        """A request of `tokens` tokens; of a chat `said` are the turns, user and assistant in turn."""
        roles = ("user", "assistant")
        turns = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
        wanted = {"max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True, "return_token_ids": True}
        named = {"model": self.model} if self.model else {}
        told = {"messages": turns} if self.is_chat else {"prompt": said[-1]}
        path = self.prefix + (CHATS if self.is_chat else COMPLETIONS)
        exchange = Exchange(
            id, "POST", path, orjson.dumps({**named, **told, **wanted}), timeout_s=self.timeout_s, after=after
        )
        request = Request(id=id, prompt_ids=(), max_tokens=tokens)
        return Asked(exchange, request, max(1, ceil(sum(len(text.encode()) for text in said) / BYTES_A_TOKEN)))

    def words(self, count: int) -> str:
        """So many random words."""
        return " ".join("".join(self.draws.choices(ascii_lowercase, k=5)) for _ in range(count))


class _Read:
    """Answers as OpenAI-like servers stream them."""

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        return read(request, reply)


@dataclass(frozen=True, slots=True)
class Words(_Read):
    """Prompts of random words; with `turns` they follow one another in sessions of so many turns, at random."""

    form: Form
    words: int
    tokens: int
    turns: tuple[int, int] = (1, 1)
    think_s: float = 0.0

    def requests(self, count: int | None) -> list[Asked]:
        """So many prompts, in sessions that follow one another."""
        found: list[Asked] = []
        while len(found) < (count or 0):
            turns = min(self.form.draws.randint(*self.turns), (count or 0) - len(found))
            asked = [(self.form.words(self.words), self.tokens) for _ in range(turns)]
            found += _session(self.form, len(found), asked, self.think_s)
        return found


@dataclass(frozen=True, slots=True)
class Replay(_Read):
    """A trace's requests at its times, in fresh words of its lengths that share what its prompts share."""

    form: Form
    window: Window

    def requests(self, count: int | None) -> list[Asked]:
        """The first so many; a token is a letter and a space, which nearly every tokenizer spells as one token."""
        arrivals, draws = self.window.arrivals[:count], self.form.draws
        found = []
        spelt = prompts(arrivals, lambda size: draws.choices(range(len(ascii_letters)), k=size))
        for id, (arrival, letters) in enumerate(zip(arrivals, spelt, strict=True)):
            text = " ".join(ascii_letters[letter] for letter in letters)
            asked = self.form.asked(id, [text], arrival.output_tokens)
            exchange = replace(asked.exchange, at_s=arrival.at_s)
            found.append(replace(asked, exchange=exchange, input_tokens=arrival.input_tokens, is_exact=True,
                                 blocks=arrival.blocks))  # fmt: skip
        return found


@dataclass(frozen=True, slots=True)
class Conversations(_Read):
    """Recorded conversations: their questions, each after the server's own answer to the one before it.

    An answer is asked for as long as the recorded one is, by its bytes, or of `tokens` tokens where they are given.
    """

    form: Form
    conversations: Sequence[Conversation]
    tokens: int | None
    think_s: float = 0.0

    def requests(self, count: int | None) -> list[Asked]:
        """The first so many questions."""
        found: list[Asked] = []
        for conversation in self.conversations:
            turns = conversation.turns if count is None else conversation.turns[: count - len(found)]
            asked = [(_plain(turn.question), self.tokens or _tokens(turn.answer)) for turn in turns]
            found += _session(self.form, len(found), asked, self.think_s)
        return found


def _session(form: Form, first: int, asked: Sequence[tuple[str, int]], think_s: float) -> list[Asked]:
    """Turns that follow one another, each a question with the tokens of its answer; alone it is no session."""
    found: list[Asked] = []
    said: list[str] = []
    so_far = 0
    for number, (question, tokens) in enumerate(asked):
        id, after = first + number, first + number - 1 if number else None
        turn = form.asked(id, [*said, question], tokens, after)
        exchange = replace(turn.exchange, think_s=think_s if number else 0.0)
        so_far += _tokens(question)
        session = first if len(asked) > 1 else None
        found.append(replace(turn, exchange=exchange, input_tokens=so_far, session=session))
        said += [question, f"@text:{id}"]
        so_far += tokens
    return found


def _tokens(text: str) -> int:
    return max(1, ceil(len(text.encode()) / BYTES_A_TOKEN))


def _plain(text: str) -> str:
    """A question that reads like the client's own mark of an answer is none."""
    return f" {text}" if text.startswith("@") else text
