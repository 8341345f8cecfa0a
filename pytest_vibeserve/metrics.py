"""What the field calls ttft, tpot, itl, e2e_latency and throughput, worked out from answers and their events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.target import LATENCY, check_metric

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Block:
    """The answers of one block of load and how long it took from the first send to the last byte (seconds)."""

    answers: tuple[Answer, ...]
    wall_s: float
    open_loop: bool = False

    @property
    def tokens(self) -> int:
        """Generated tokens, counted by the gate from ids."""
        return sum(answer.tokens for answer in self.answers)


def measure(metric: str, block: Block) -> float:
    """One metric of one block: tokens/s, requests/s, or milliseconds at a percentile (`ttft_p50`)."""
    if metric == "output_throughput":
        return block.tokens / block.wall_s
    if metric == "request_throughput":
        return len(block.answers) / block.wall_s
    check_metric(metric)
    named = LATENCY.fullmatch(metric)
    assert named is not None
    values = list(latencies(named["latency"], block))
    return float(np.percentile(values, int(named["percentile"]))) * MILLISECONDS if values else float("nan")


def latencies(name: str, block: Block) -> Iterator[float]:
    """Seconds, one a request (one a gap for itl); an open loop counts from the scheduled time of sending."""
    of: dict[str, Callable[[Answer, float], Sequence[float]]] = {
        "ttft": _ttft,
        "tpot": _tpot,
        "itl": _itl,
        "e2e_latency": lambda answer, start: (answer.done_s - start,),
    }
    for answer in block.answers:
        yield from of[name](answer, answer.scheduled_s if block.open_loop else answer.sent_s)


def _ttft(answer: Answer, start: float) -> Sequence[float]:
    first = next((event.at_s for event in answer.events if event.tokens), None)
    return () if first is None else (first - start,)


def _tpot(answer: Answer, start: float) -> Sequence[float]:
    times = [event.at_s for event in answer.events if event.tokens]
    return () if answer.tokens < 2 or not times else ((times[-1] - times[0]) / (answer.tokens - 1),)


def _itl(answer: Answer, start: float) -> Sequence[float]:
    events = [event for event in answer.events if event.tokens]
    gaps: list[float] = []
    for before, event in pairwise(events):
        gaps.extend([(event.at_s - before.at_s) / event.tokens] * event.tokens)
    return gaps
