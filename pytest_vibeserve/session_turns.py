"""Multi-turn sessions: each turn's prompt is everything said before and something new, and waits for the answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from pytest_vibeserve.completions import Answer, exchange
from pytest_vibeserve.load_generator import Exchange
from pytest_vibeserve.loads import Load
from pytest_vibeserve.workload import Request

Session = tuple[Request, ...]
"""The turns of one session; each `prompt_ids` holds only what that turn adds."""


def grouped(requests: Sequence[Request], load: Load, context: int, draws: random.Random) -> list[Session]:
    """Fresh requests as sessions of the load's number of turns, prompts as ids; none outgrows the context."""
    sessions: list[Session] = []
    left = list(requests)
    while left:
        turns: list[Request] = []
        room = context
        for _ in range(draws.randint(*load.turns)):
            if not left or len(left[0].prompt_ids) + left[0].max_tokens > room:
                break
            turn = left.pop(0)
            room -= len(turn.prompt_ids) + turn.max_tokens
            # Only ids can be continued: text may be cut into other tokens once more follows it.
            turns.append(replace(turn, prompt_text="", stream=True, token_ids=True))
        sessions.append(tuple(turns) or (left.pop(0),))
    return sessions


def exchanges(sessions: Sequence[Session], think_s: float, timeout_s: float) -> list[Exchange]:
    """The turns as exchanges that follow one another; the client puts each answer's ids into the next prompt."""
    found: list[Exchange] = []
    for session in sessions:
        said: list[int | str] = []
        before: int | None = None
        for turn in session:
            plain = exchange(turn, timeout_s)
            if before is not None:
                said.append(f"@ids:{before}")
            said.extend(turn.prompt_ids)
            fields = orjson.loads(plain.body)
            fields["prompt"] = said
            found.append(replace(plain, body=orjson.dumps(fields), after=before, think_s=think_s))
            before = turn.id
    return found


def asked(sessions: Sequence[Session], read: Callable[[Request], Answer]) -> list[Answer]:
    """The answers in the order of the turns, each with the whole prompt that its turn really sent.

    `read` gives the answer to a request.  What follows a turn that failed was never sent, and is a fault of its own.
    """
    answers: list[Answer] = []
    for session in sessions:
        said: tuple[int, ...] = ()
        for turn in session:
            found = read(replace(turn, prompt_ids=said + turn.prompt_ids))
            answers.append(found)
            said = found.request.prompt_ids + tuple(token for choice in found.choices[:1] for token in choice.ids)
    return answers
