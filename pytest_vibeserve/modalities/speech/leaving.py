"""Streams whose clients leave: the others do not notice, their places are free again, and odd openings hurt nobody."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.modalities.speech.spoken import spoken
from pytest_vibeserve.modalities.speech.streams import Leave
from pytest_vibeserve.modalities.speech.wire import SpeechWire, StreamAnswer
from pytest_vibeserve.modalities.wire import ServedBench

HOUSES = {"quick": 4, "full": 8}
"""How many times as many streams as are served at once are left, so that places which are not freed run out."""

MOST_FRAMES = 3
OPENINGS = ("", "not JSON", "[]", '{"type": "finalize"}')
"""First messages that are not the protocol's: a server may hang up on them, and must go on; "" is audio at once."""


def left(bench: ServedBench, wire: SpeechWire, draws: random.Random) -> list[StreamAnswer]:
    """Answers of streams that stayed while every second one left, and of a full house after many more were left."""
    house = bench.target.speech.streams
    stayed = _house(bench, wire, draws, [_leave(draws) if place % 2 else None for place in range(house)])
    visits = [_leave(draws) for _ in range(HOUSES[bench.depth] * house)]
    visits += [Leave(1, opening=words) for words in OPENINGS]
    for start in range(0, len(visits), house):
        _house(bench, wire, draws, visits[start : start + house])
    return [*stayed, *_house(bench, wire, draws, [None] * house)]


def _leave(draws: random.Random) -> Leave:
    return Leave(draws.randint(1, MOST_FRAMES), farewell=draws.random() < 0.5)


def _house(
    bench: ServedBench, wire: SpeechWire, draws: random.Random, leaves: Sequence[Leave | None]
) -> list[StreamAnswer]:
    """Streams at the same time; the answers of those that stay."""
    drawn = wire.fresh(draws, len(leaves))
    requests = [replace(request, id=place, kind="bystander stream") for place, request in enumerate(drawn)]
    answers = spoken(bench.server, wire, requests, draws, leaves)[1]
    return [answer for answer, leave in zip(answers, leaves, strict=True) if leave is None]
