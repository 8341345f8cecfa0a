"""Whether a stream takes as long as its tokens take to make, told by what a token costs where nobody else is served."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity.run import Pair, Run
from pytest_vibeserve.integrity.streams import LEAST_STREAMS
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request

PAIRS = {"quick": 6, "full": 12}
ROUNDS = 4
"""So often what a token costs is asked before streams are held to have come too soon: machines have their moods."""

BESIDE = 24
"""Requests of a load that are asked for beside the pairs, or twice its concurrency: half of them may be too short."""

LONG_ANSWER = 12
"""Fewer tokens show too little where an event may carry those of several steps."""

LEAST_SHOWN = 0.6
"""How much of the time in which an answer's later tokens are made lies between its first and its last event.

Of an honest stream all of it does; of one that is held back until half of it is there, half.
"""

TURN_S = 0.005
"""So long an event may wait for a process that makes more tokens meanwhile: the turn of a thread in Python."""


def paired(
    ask: Callable[[Sequence[Request]], list[Answer]], requests: Sequence[Request], draws: random.Random
) -> tuple[Pair, ...]:
    """Each prompt that can show it once for a whole answer and once for its first token, alone, in random order.

    Before, it is asked for one token that does not count: a store of prefixes then knows it both times.
    """
    whole = [
        replace(one, stream=True, ignore_eos=True, temperature=0.0, top_p=1.0, top_k=0, logprobs=None)
        for one in requests if one.max_tokens >= LONG_ANSWER and _is_plain(one)
    ]  # fmt: skip
    order = [draws.sample((True, False), 2) for _ in whole]
    lengths = [(1, *(one.max_tokens if long else 1 for long in turns)) for one, turns in zip(whole, order, strict=True)]
    asked = [replace(one, max_tokens=length) for one, three in zip(whole, lengths, strict=True) for length in three]
    answers = ask([replace(one, id=index) for index, one in enumerate(asked)])
    turns = [answers[place : place + 3] for place in range(0, len(answers), 3)]
    return tuple(Pair(*sorted(three[1:], key=lambda answer: answer.request.max_tokens)) for three in turns)


def is_doubted(run: Run) -> bool:
    """Whether the streams of a run show too little time between their first and last event, as far as is known."""
    shown = _shown(run)
    return len(shown) >= LEAST_STREAMS and float(np.median(shown)) < LEAST_SHOWN


def paced(run: Run) -> Check:
    """Later tokens take as long to come as they take to make: a first token is not held back until others join it.

    A stream that came in a smaller part of its whole time than that may have waited long: `run.alone` tells then.
    """
    asked = (*run.beside, *(one for pair in run.alone for one in (pair.first, pair.whole)))
    shown, broken = _shown(run), [one for one in asked if one.fault]
    share = float(np.median(shown)) if shown else 0.0
    if not broken and (len(shown) < LEAST_STREAMS or (is_doubted(run) and not run.alone)):
        return Check(name="stream.pace", result="skip", detail=f"{run.name}: no streams that could show it")
    cost = f"{1000 * run.token_s:.2f} ms" if run.alone else "at most what the answer takes"
    return Check(
        name="stream.pace", result="fail" if broken or share < LEAST_SHOWN else "pass", statistic=share,
        threshold=LEAST_SHOWN, unit="share", example=broken[0].fault if broken else "",
        detail=f"{run.name}: between a stream's first and last event lay {share:.0%} of the time that its later tokens "
        f"take to make (median of {len(shown)}; a token of a lone answer takes {cost})",
    )  # fmt: skip


def _shown(run: Run) -> list[float]:
    """The share that each stream shows, at most 1; its whole time stands for what its tokens take, until that is known.

    Drafts that a client gives may be verified with the prompt, and several choices share their steps.
    """
    plain = (
        one for one in run.beside or run.answers if _is_plain(one.request) and one.request.stream and not one.fault
    )
    return [_part(one, run.token_s) for one in plain if one.tokens >= LONG_ANSWER]


def _is_plain(request: Request) -> bool:
    return not request.is_constrained and request.prediction is None and request.n == 1


def _part(answer: Answer, token_s: float) -> float:
    times = [event.at_s for event in answer.events if event.tokens]
    made_s = min(answer.done_s - answer.sent_s, token_s * (answer.tokens - 1))
    came_s = times[-1] - times[0] + TURN_S if times else 0.0
    return min(1.0, came_s / made_s) if made_s > 0 else 1.0
