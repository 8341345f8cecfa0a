"""Clients that leave in the middle: the others must not notice, and what was asked can be asked again."""

from __future__ import annotations

import random
from dataclasses import replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.modalities.wire import Wire, asked

SOONEST_S, LATEST_S = 0.005, 0.2
VISITORS = {"quick": 8, "full": 32}


def deserted(bench: Bench, wire: Wire, draws: random.Random) -> list[Answer]:
    """Answers of those who stayed while every other client left at a random moment, and of those who came back."""
    requests = [replace(request, kind="bystander") for request in wire.fresh(draws, VISITORS[bench.depth])]
    limit = bench.target.limits.longest_wait_s
    exchanges = [wire.exchange(request, limit) for request in requests]
    for index in range(0, len(exchanges), 2):
        exchanges[index] = replace(exchanges[index], cancel_after_s=draws.uniform(SOONEST_S, LATEST_S))
    replies = bench.exchange(exchanges, len(exchanges))
    found = [wire.answer(requests[index], replies[index]) for index in range(1, len(requests), 2)]
    return found + asked(bench, wire, [replace(request, kind="come back") for request in requests[::2]])
