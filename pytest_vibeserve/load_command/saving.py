"""What was sent, as a trace that can be replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.load_command.sources import Asked
from pytest_vibeserve.load_generator.driver import TURN_LOST
from pytest_vibeserve.traces import BLOCK_TOKENS, Arrival, write_arrivals

APART = 10**6
"""Blocks that are named for one session: later turns begin with what earlier ones said."""


def save(path: Path, asked: Sequence[Asked], answers: Sequence[Answer]) -> int:
    """Write what was sent in Mooncake's shape, times from the first sending; how many requests that were.

    Tokens of a prompt are the server's own count where it tells one; what failed has the length that was asked for.
    """
    sent = [(one, answer) for one, answer in zip(asked, answers, strict=True) if answer.fault != TURN_LOST]
    start_s = min((answer.sent_s for _, answer in sent), default=0.0)
    write_arrivals(sorted(_arrivals(sent, start_s), key=lambda arrival: arrival.at_s), path)
    return len(sent)


def _arrivals(sent: Sequence[tuple[Asked, Answer]], start_s: float) -> Iterator[Arrival]:
    for one, answer in sent:
        told = one.input_tokens if one.is_exact or answer.usage is None else answer.usage[0]
        blocks = one.blocks
        if one.session is not None:
            blocks = tuple(APART * (1 + one.session) + number for number in range(told // BLOCK_TOKENS))
        tokens = answer.tokens or one.request.max_tokens
        yield Arrival(answer.sent_s - start_s, max(1, told), tokens, blocks)
