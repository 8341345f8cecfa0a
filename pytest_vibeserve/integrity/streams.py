"""Whether streams show tokens when they are made: what an event holds, and when the first and the others come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity.run import Run
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Limits

LARGEST_GROUP = 16
"""Tokens that one event may carry: more than any verified draft yields on this kind of model."""

HICCUP_S = 0.02
"""What a busy machine may delay a packet by: tokens that the whole run made in less may honestly come together."""

MOST = 0.5
"""Share of the streams that may look odd: above it, it is the server's way, and medians would gain by it."""

LONG_ANSWER, PROMPT_A_TOKEN, LAST_PART = 8, 4, 0.1
"""An answer of so many tokens to a prompt of at most so many for each is not made in this last part of its time."""

ODD_GAP = 5.0
"""The second token of a lone stream comes after a step like any other, not after so many."""


def grouped(run: Run) -> Check:
    """No event carries more tokens than one step of a model yields."""
    largest = max((event.tokens for answer in _streamed(run) for event in answer.events), default=0)
    return Check(
        name="stream.group-size",
        result="fail" if largest > LARGEST_GROUP else "pass",
        statistic=largest,
        threshold=LARGEST_GROUP,
        unit="tokens",
        detail=f"{run.name}: the largest event of a stream carries {largest} tokens",
    )


def spread(run: Run) -> Check:
    """Tokens are not held back: neither the first until others join it, nor more at once than a step yields.

    How many may come together by accident follows from the run's own steps: as many as it made, over all streams, in
    the time of a hiccup.  A lone stream waits for nobody: its tokens do not all come in the last moment of it either.
    """
    tokens = sum(answer.tokens for answer in run.answers)
    at_once = HICCUP_S * tokens / max(run.wall_s, 1e-6)
    streams = [answer for answer in _streamed(run) if answer.tokens > 1]
    alone = run.load.arrival == "closed" and run.load.concurrency == 1
    held = [answer for answer in streams if _held(answer, at_once) or (alone and _at_the_end(answer))]
    share = len(held) / max(1, len(streams))
    return Check(
        name="stream.bursts",
        result="fail" if share > MOST else "pass",
        statistic=share,
        threshold=MOST,
        unit="share",
        detail=f"{run.name}: {len(held)} of {len(streams)} streams held tokens back: more than 1 at first, or more "
        f"than {LARGEST_GROUP} later, came at one instant, where {1 + at_once:.1f} may by accident, or all at the end",
    )


def continuous(run: Run, limits: Limits) -> Check:
    """No stream stands still for as long as a whole request may take; the objectives weigh shorter gaps."""
    gaps = [gap for answer in _streamed(run) for gap in _gaps(answer)]
    largest, typical = max(gaps, default=0.0), float(np.median(gaps)) if gaps else 0.0
    return Check(
        name="stream.largest-gap", result="fail" if largest > limits.longest_wait_s else "pass", statistic=largest,
        threshold=limits.longest_wait_s, unit="s",
        detail=f"{run.name}: the largest gap in a stream is {largest:.3f} s, the median {typical:.4f} s",
    )  # fmt: skip


def first_token(run: Run) -> Check:
    """The first event is the first token: no text comes before an id, and a lone stream's second token is no later
    after the first than others are after theirs.
    """
    streams = [answer for answer in _streamed(run) if answer.tokens and not _retokenised(answer)]
    alone = run.load.arrival == "closed" and run.load.concurrency == 1
    odd = [answer for answer in streams if _starts_with_text(answer) or (alone and _early(answer))]
    share = len(odd) / max(1, len(streams))
    return Check(
        name="stream.first-token", result="fail" if share > MOST else "pass", statistic=share, threshold=MOST,
        unit="share", example=f"request {odd[0].request.id}: {list(odd[0].events[:3])}" if share > MOST else "",
        detail=f"{run.name}: {len(odd)} of {len(streams)} streams began with something else than their first token",
    )  # fmt: skip


def _streamed(run: Run) -> list[Answer]:
    return [answer for answer in run.answers if answer.request.stream and not answer.fault]


def _retokenised(answer: Answer) -> bool:
    return any(choice.retokenised for choice in answer.choices)


def _instants(answer: Answer) -> list[tuple[float, int]]:
    """When tokens came, and how many at once."""
    together: Counter[float] = Counter()
    for event in answer.events:
        if event.tokens:
            together[event.at_s] += event.tokens
    return sorted(together.items())


def _gaps(answer: Answer) -> Iterator[float]:
    for (before, _), (after, _) in pairwise(_instants(answer)):
        yield after - before


def _held(answer: Answer, at_once: float) -> bool:
    counts = [count for _, count in _instants(answer)]
    first_too_many = bool(counts) and counts[0] - len(answer.choices) > at_once
    return first_too_many or max(counts, default=0) > max(LARGEST_GROUP * len(answer.choices), at_once)


def _at_the_end(answer: Answer) -> bool:
    """All tokens of a long answer to a short prompt came in the last part of its time."""
    times = [at for at, _ in _instants(answer)]
    if answer.tokens < LONG_ANSWER or len(answer.request.prompt_ids) > PROMPT_A_TOKEN * answer.tokens:
        return False
    return times[-1] - times[0] < LAST_PART * (times[-1] - answer.sent_s)


def _starts_with_text(answer: Answer) -> bool:
    first = answer.events[0] if answer.events else None
    return first is not None and not first.tokens and bool(first.text)


def _early(answer: Answer) -> bool:
    """The first token came as if by another way than the rest: far sooner than a step later the second came."""
    times = [at for at, _ in _instants(answer)]
    if len(times) < 4:
        return False
    waited, second = times[0] - answer.sent_s, times[1] - times[0]
    return second > ODD_GAP * float(np.median(np.diff(times[1:]))) and second > 2 * waited
