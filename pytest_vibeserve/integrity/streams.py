"""Whether streams show tokens when they are made: what an event holds, and when the first and the others come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity.run import Run
from pytest_vibeserve.load_generator.traffic import LOOP_LAG_LIMIT_S
from pytest_vibeserve.report import Check, Result
from pytest_vibeserve.target import Limits

HICCUP_S = LOOP_LAG_LIMIT_S
"""How late the client may read while its times still count: what the whole run made in less may come together."""

MOST = 0.5
"""Share of the streams that could show it which may look odd.

Honest ones do when the machine hiccups, hardly ever; where it is a server's own way nearly all do.
"""

LEAST_STREAMS = 3
"""Streams that could show something, of which more than one must: one may have met a hiccup."""

LONG_ANSWER, PROMPT_A_TOKEN, LAST_PART = 8, 4, 0.1
"""An answer of so many tokens to a prompt of at most so many for each is not made in this last part of its time."""

ODD_GAP = 5.0
"""The second token of a lone stream comes after a step like any other, not after so many."""


def grouped(run: Run, limits: Limits) -> Check:
    """No event carries more tokens than one step may yield."""
    largest = max((event.tokens for answer in _streamed(run) for event in answer.events), default=0)
    return Check(
        name="stream.group-size",
        result="fail" if largest > limits.step_tokens else "pass",
        statistic=largest,
        threshold=limits.step_tokens,
        unit="tokens",
        detail=f"{run.name}: the largest event of a stream carries {largest} tokens; a step yields at most "
        f"{limits.step_tokens}",
    )


def spread(run: Run, limits: Limits) -> Check:
    """Tokens are not held back: neither the first until others join it, nor more at once than a step yields.

    How many may come together by accident follows from the run's own steps: as many as it made, over all streams, in
    the time of a hiccup while somebody was served.  A lone stream waits for nobody: its tokens do not all come in the
    last moment of it either.
    Streams too short to show either are not counted.
    """
    at_once = HICCUP_S * sum(answer.tokens for answer in run.answers) / max(run.served_s, 1e-6)
    streams = [
        answer for answer in _streamed(run)
        if answer.tokens - len(answer.choices) > at_once or (_alone(run) and _is_long(answer))
    ]  # fmt: skip
    held = [
        answer for answer in streams
        if _held(answer, at_once, limits.step_tokens) or (_alone(run) and _at_the_end(answer))
    ]  # fmt: skip
    share = len(held) / max(1, len(streams))
    if not streams:
        return Check(name="stream.bursts", result="skip", detail=f"{run.name}: no stream of tokens could show any")
    return Check(
        name="stream.bursts",
        result=_said(share, len(streams)),
        statistic=share,
        threshold=MOST,
        unit="share",
        detail=f"{run.name}: {len(held)} of {len(streams)} streams that could show it held tokens back: more than 1 "
        f"at first, or more than {limits.step_tokens} later, came at one instant, where {1 + at_once:.1f} may by "
        "accident, or all at the end",
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
    long = [answer for answer in streams if _alone(run) and _is_long(answer)]
    kinds = (
        ("text before its first token", [answer for answer in streams if _starts_with_text(answer)], len(streams)),
        ("a first token far ahead of its second", [answer for answer in long if _early(answer)], len(long)),
    )
    what, odd, count = max(kinds, key=lambda kind: len(kind[1]) / max(1, kind[2]))
    share = len(odd) / max(1, count)
    if not streams:
        return Check(name="stream.first-token", result="skip", detail=f"{run.name}: no stream of tokens could show it")
    result = _said(share, len(streams) if not odd else count)
    return Check(
        name="stream.first-token", result=result, statistic=share, threshold=MOST,
        unit="share", example=f"request {odd[0].request.id}: {list(odd[0].events[:3])}" if result == "fail" else "",
        detail=f"{run.name}: {len(odd)} of {count} streams that could show it had {what}",
    )  # fmt: skip


def _said(share: float, streams: int) -> Result:
    return "skip" if streams < LEAST_STREAMS else "fail" if share > MOST else "pass"


def _alone(run: Run) -> bool:
    return run.load.arrival == "closed" and run.load.concurrency == 1


def _is_long(answer: Answer) -> bool:
    """Whether the answer takes so much longer than its prompt that a server which held it back would show."""
    return answer.tokens >= LONG_ANSWER and len(answer.request.prompt_ids) <= PROMPT_A_TOKEN * answer.tokens


def _streamed(run: Run) -> list[Answer]:
    """Streams whose every token takes a step of the model."""
    stepped = (answer for answer in run.answers if not answer.request.is_constrained)
    return [answer for answer in stepped if answer.request.stream and not answer.fault]


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


def _held(answer: Answer, at_once: float, step_tokens: int) -> bool:
    counts = [count for _, count in _instants(answer)]
    first_too_many = bool(counts) and counts[0] - len(answer.choices) > at_once
    return first_too_many or max(counts, default=0) > max(step_tokens * len(answer.choices), at_once)


def _at_the_end(answer: Answer) -> bool:
    """All tokens of a long answer to a short prompt came in the last part of its time."""
    times = [at for at, _ in _instants(answer)]
    return _is_long(answer) and bool(times) and times[-1] - times[0] < LAST_PART * (times[-1] - answer.sent_s)


def _starts_with_text(answer: Answer) -> bool:
    first = answer.events[0] if answer.events else None
    return first is not None and not first.tokens and bool(first.text)


def _early(answer: Answer) -> bool:
    """The first token came as if by another way than the rest: far sooner than a step later the second came."""
    times = [at for at, _ in _instants(answer)]
    if len(times) < 2:
        return False
    waited, second, later = times[0] - answer.sent_s, times[1] - times[0], np.diff(times[1:])
    typical = float(np.median(later)) if len(later) else 0.0
    return second > ODD_GAP * typical and second > 2 * waited
