"""Multi-turn sessions: each turn's prompt is everything said before and something new, and waits for the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_generator import Exchange
from pytest_vibeserve.workload import Request

Session = tuple[Request, ...]
"""The turns of one session; each holds only what that turn adds."""


@runtime_checkable
class Talk(Protocol):
    """How requests whose prompts are tokens travel when one follows another, and say what they are told to."""

    def turn(self, request: Request, before: Session, timeout_s: float) -> Exchange:
        """The exchange of a turn; what the turns before it were answered stands there as the client's marks."""

    def continued(self, request: Request, before: Sequence[Answer]) -> Request:
        """The turn with the whole prompt that it sends after those answers."""

    def room(self, request: Request) -> int:
        """Tokens of context that the turn and its answer may take in the turns after it."""

    def worded(self, request: Request, ids: Sequence[int]) -> Request:
        """The request with a prompt of these tokens, as nearly as its form allows and no longer."""


def grouped(
    requests: Sequence[Request], counts: Iterator[int], context: int, room: Callable[[Request], int]
) -> list[Session]:
    """Fresh requests as sessions of so many turns, or fewer where another would outgrow the context; all streamed."""
    sessions: list[Session] = []
    left = [replace(request, prompt_text="", stream=True, token_ids=True) for request in requests]
    while left:
        turns, wanted = [left.pop(0)], next(counts, 1)
        free = context - room(turns[0])
        while len(turns) < wanted and left and room(left[0]) <= free:
            free -= room(left[0])
            turns.append(left.pop(0))
        sessions.append(tuple(turns))
    return sessions


def exchanges(sessions: Sequence[Session], talk: Talk, think_s: float, timeout_s: float) -> list[Exchange]:
    """The turns as exchanges that follow one another; the client puts what was answered into the next one."""
    found: list[Exchange] = []
    for session in sessions:
        for number, turn in enumerate(session):
            after = session[number - 1].id if number else None
            plain = talk.turn(turn, session[:number], timeout_s)
            found.append(replace(plain, after=after, think_s=think_s if number else 0.0))
    return found


def asked(sessions: Sequence[Session], talk: Talk, read: Callable[[Request], Answer]) -> list[Answer]:
    """The answers in the order of the turns, each with the whole prompt that its turn really sent.

    `read` gives the answer to a request.  What follows a turn that failed was never sent, and is a fault of its own.
    """
    answers: list[Answer] = []
    for session in sessions:
        before: list[Answer] = []
        for turn in session:
            before.append(read(talk.continued(turn, before)))
        answers += before
    return answers
