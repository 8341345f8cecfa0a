"""Whether every request that was issued was served: answered, whole, in time, in its turn, while the clock ran."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity.run import Run
from pytest_vibeserve.metrics import Block
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Limits

STARVED = 4.0
"""How many times the mean latency, by its length, a request or a half of them may take in half of the blocks.

A queue serves in turn (about 2), a batch in proportion to length (about 1.5); one bad moment of the machine falls into
one block.
"""

ENOUGH_TURNS = 2
"""Times the concurrency that a block must hold requests: before that, everybody is in the first queue."""

ON_TIME_S = 0.05


def answered(run: Run) -> Check:
    """Every issued request is answered."""
    refused = [answer for answer in run.answers if answer.fault]
    example = f"request {refused[0].request.id}: {refused[0].fault}" if refused else ""
    return Check(
        name="service.answered",
        result="fail" if refused else "pass",
        statistic=len(refused),
        threshold=0,
        unit="requests",
        detail=f"{run.name}: {len(refused)} of {len(run.answers)} issued requests failed",
        example=example,
    )


def in_time(run: Run, limits: Limits) -> Check:
    """No request takes longer than the target allows, counted from the schedule."""
    longest = max((answer.done_s - answer.scheduled_s for answer in run.answers), default=0.0)
    return Check(
        name="service.longest-wait",
        result="fail" if longest > limits.longest_wait_s else "pass",
        statistic=longest,
        threshold=limits.longest_wait_s,
        unit="s",
        detail=f"{run.name}: the longest request took {longest:.2f} s",
    )


def whole(run: Run) -> Check:
    """Every answer has the length that was asked for."""
    wrong = [answer for answer in run.answers if not answer.fault and not _whole_length(answer)]
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
        detail=f"{run.name}: {len(wrong)} of {len(run.answers)} answers do not have the length that was asked for",
        example=example,
    )


def goodput(run: Run, limits: Limits) -> Check:
    """What counts is what was issued: the share of it that was answered, whole and in time."""
    good = [
        answer for answer in run.answers
        if not answer.fault and _whole_length(answer) and answer.done_s - answer.scheduled_s <= limits.longest_wait_s
    ]  # fmt: skip
    share = len(good) / max(1, len(run.answers))
    rate = len(good) / max(run.wall_s, 1e-6)
    return Check(
        name="service.goodput", result="pass" if len(good) == len(run.answers) else "fail", statistic=share,
        threshold=1, unit="share",
        detail=f"{run.name}: {len(good)} of {len(run.answers)} issued requests, {rate:.2f} a second, were served well",
    )  # fmt: skip


def drained(run: Run, limits: Limits) -> Check:
    """The clock of a block runs until its last answer is whole, however long after the last request that is."""
    late = [
        answer for block in run.blocks for answer in block.answers if not answer.fault and answer.done_s > block.wall_s
    ]
    longest = max((_drain_s(block) for block in run.blocks if block.answers), default=0.0)
    return Check(
        name="service.drain", result="fail" if late or longest > limits.longest_wait_s else "pass", statistic=longest,
        threshold=limits.longest_wait_s, unit="s",
        detail=f"{run.name}: {longest:.2f} s from the last request to the last answer, which the throughput counts",
    )  # fmt: skip


def scheduled(run: Run) -> Check:
    """An open loop sends on its schedule, and each latency counts from there, so that a server that lags is charged."""
    if run.load.arrival == "streams":
        return Check(name="service.arrivals", result="skip", detail=f"{run.name}: audio is sent as it is spoken")
    if not run.load.is_open or run.load.most_in_flight:
        return Check(name="service.arrivals", result="skip", detail=f"{run.name}: requests wait for answers here")
    late = [answer.sent_s - answer.scheduled_s for answer in run.answers]
    slowest = float(np.percentile(late, 99)) if late else 0.0
    words = f"{run.name}: 99 of 100 requests left at most {1000 * slowest:.1f} ms after their schedule"
    # Only the client can be late here: its lateness is never the candidate's fault.
    on_time = slowest <= ON_TIME_S
    return Check(
        name="service.arrivals", result="pass" if on_time else "skip", statistic=slowest, threshold=ON_TIME_S,
        unit="s", detail=words if on_time else f"{words}: the client was late, which is charged to nobody",
    )  # fmt: skip


def replayed(run: Run) -> Check:
    """How much of a trace the load was: what a short load leaves out is said, not judged."""
    found = {block.window.first: block.window for block in run.blocks if block.window}
    count, total = (
        sum(len(window.arrivals) for window in found.values()),
        max((w.total for w in found.values()), default=0),
    )
    return Check(
        name="service.replayed", result="pass", statistic=count, threshold=total, unit="requests",
        detail=f"{run.name}: {count} of {total} requests of {run.load.trace} were replayed, in {len(found)} windows, "
        f"{run.load.speedup:g} times as fast",
    )  # fmt: skip


def fair(run: Run) -> Check:
    """Nobody starves in a closed loop: no request, and no half of them by length, waits many times its share."""
    streams = run.load.concurrency
    if run.load.arrival != "closed":
        return Check(name="service.fairness", result="skip", detail=f"{run.name}: only a closed loop has turns")
    judged = [block for block in run.blocks if len(block.answers) >= ENOUGH_TURNS * streams]
    if streams < 2 or not judged:
        return Check(name="service.fairness", result="skip", detail=f"{run.name}: too few requests to be in turns")
    typical = float(np.median([_longest_share(block.answers) for block in judged]))
    return Check(
        name="service.fairness", result="fail" if typical > STARVED else "pass", statistic=typical, threshold=STARVED,
        unit="x", detail=f"{run.name}: the longest wait is {typical:.1f} times its share, by {len(judged)} blocks",
    )  # fmt: skip


def _longest_share(answers: Sequence[Answer]) -> float:
    """The largest latency of a request, or mean latency of the longer or the shorter half, over what is its share."""
    taken = np.array([answer.done_s - answer.sent_s for answer in answers])
    size = np.array([len(answer.request.prompt_ids) + answer.request.max_tokens for answer in answers], dtype=float)
    steps = np.array([answer.request.max_tokens for answer in answers], dtype=float)
    # A longer request may take longer in proportion, be it tokens or steps that cost the time; a shorter one waits in
    # the same queue as the others.
    share = np.maximum(1.0, np.maximum(size / max(size.mean(), 1.0), steps / max(steps.mean(), 1.0)))
    long = size > np.median(size)
    halves = [taken[half].mean() / share[half].mean() for half in (long, ~long) if half.any()]
    others = [taken[~half].mean() for half in (long, ~long) if half.any() and (~half).any()]
    between = max((mine / max(other, 1e-6) for mine, other in zip(halves, others, strict=False)), default=1.0)
    return float(max((taken / share).max() / max(taken.mean(), 1e-6), between))


def _drain_s(block: Block) -> float:
    return max(block.wall_s - max(answer.sent_s for answer in block.answers), 0.0)


def _whole_length(answer: Answer) -> bool:
    """Whether an answer's own ids are as many as were asked for; text that was cut anew may have others."""
    lengths = [len(choice.ids) for choice in answer.choices if not choice.retokenised]
    if not answer.request.ignore_eos or answer.request.stop:
        return all(length <= answer.request.max_tokens for length in lengths)
    return all(length == answer.request.max_tokens for length in lengths)
