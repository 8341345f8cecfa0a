"""Signs of playing to the test, read from the traffic itself; each is a named check with its statistic and limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Limits

LARGEST_BURST_SHARE = 0.5
LARGEST_GROUP = 16
"""Tokens that one event may carry: more than any verified draft yields on this kind of model."""


def traffic_checks(answers: Sequence[Answer], limits: Limits, load: str) -> Iterator[Check]:
    """All that the answers of one load must satisfy whatever they say: served, in time, counted, truly streamed."""
    yield _served(answers, load)
    yield _in_time(answers, limits, load)
    yield _counted(answers, load)
    yield _streamed(answers, load)
    yield _spread(answers, load)


def _served(answers: Sequence[Answer], load: str) -> Check:
    refused = [answer for answer in answers if answer.fault]
    example = f"request {refused[0].request.id}: {refused[0].fault}" if refused else ""
    return Check(
        name="service.answered",
        result="fail" if refused else "pass",
        statistic=len(refused),
        threshold=0,
        unit="requests",
        detail=f"{load}: {len(refused)} of {len(answers)} issued requests failed",
        example=example,
    )


def _in_time(answers: Sequence[Answer], limits: Limits, load: str) -> Check:
    longest = max((answer.done_s - answer.scheduled_s for answer in answers), default=0.0)
    return Check(
        name="service.longest-wait",
        result="fail" if longest > limits.longest_wait_s else "pass",
        statistic=longest,
        threshold=limits.longest_wait_s,
        unit="s",
        detail=f"{load}: the longest request took {longest:.2f} s",
    )


def _counted(answers: Sequence[Answer], load: str) -> Check:
    wrong = [answer for answer in answers if not answer.fault and not _whole_length(answer)]
    example = ""
    if wrong:
        counts = [len(choice.ids) for choice in wrong[0].choices]
        example = f"request {wrong[0].request.id}: {counts} tokens where max_tokens is {wrong[0].request.max_tokens}"
    return Check(
        name="length.max-tokens",
        result="fail" if wrong else "pass",
        statistic=len(wrong),
        threshold=0,
        unit="requests",
        detail=f"{load}: {len(wrong)} of {len(answers)} answers do not have the length that was asked for",
        example=example,
    )


def _whole_length(answer: Answer) -> bool:
    if not answer.request.ignore_eos or answer.request.stop:
        return all(len(choice.ids) <= answer.request.max_tokens for choice in answer.choices)
    return all(len(choice.ids) == answer.request.max_tokens or choice.retokenised for choice in answer.choices)


def _streamed(answers: Sequence[Answer], load: str) -> Check:
    streamed = [answer for answer in answers if answer.request.stream and not answer.fault]
    largest = max((event.tokens for answer in streamed for event in answer.events), default=0)
    return Check(
        name="stream.group-size",
        result="fail" if largest > LARGEST_GROUP else "pass",
        statistic=largest,
        threshold=LARGEST_GROUP,
        unit="tokens",
        detail=f"{load}: the largest event of a stream carries {largest} tokens",
    )


def _spread(answers: Sequence[Answer], load: str) -> Check:
    """Events that were held back come in one packet; a packet now and then holds several events of an honest server."""
    tokens = held = 0
    for answer in answers:
        if answer.request.stream and not answer.fault:
            together: Counter[float] = Counter()
            for event in answer.events:
                together[event.at_s] += event.tokens
            tokens += together.total()
            held += sum(count for count in together.values() if count > LARGEST_GROUP)
    share = held / max(1, tokens)
    return Check(
        name="stream.bursts",
        result="fail" if share > LARGEST_BURST_SHARE else "pass",
        statistic=share,
        threshold=LARGEST_BURST_SHARE,
        unit="share",
        detail=f"{load}: {held} of {tokens} streamed tokens came more than {LARGEST_GROUP} at one instant",
    )
