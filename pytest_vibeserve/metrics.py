"""What the field calls ttft, tpot, itl, e2e_latency and throughput, worked out from answers and their events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, inf, isinf, nan

from pytest_vibeserve.coherence import manner
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.loads import LATENCY, SPEED, WHOLE, Slo
from pytest_vibeserve.trace_windows import Window

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Block:
    """The answers of one block of load and how long it took from the first send to the last byte (seconds).

    Every request that was issued is here, the failed ones with their fault; `slo` is what each should have kept, and
    `window` the part of a trace that was replayed.
    """

    answers: tuple[Answer, ...]
    wall_s: float
    open_loop: bool = False
    slo: Slo = field(default_factory=Slo)
    window: Window | None = None

    @property
    def has_failed(self) -> bool:
        """Whether some request of it was not answered."""
        return any(answer.fault for answer in self.answers)

    @property
    def tokens(self) -> int:
        """Generated tokens, counted by the gate from ids."""
        return sum(answer.tokens for answer in self.answers)


def measure(metric: str, block: Block) -> float:
    """One metric of one block: tokens/s, requests/s, a share, or milliseconds at a percentile (`ttft_p50`).

    `output_throughput_p50` is the tokens/s of the median request.

    A request that failed took for ever: it counts in no rate, and as infinite in every latency that it should have had.
    """
    rates: dict[str, Callable[[], float]] = {
        "output_throughput": lambda: block.tokens / block.wall_s,
        "request_throughput": lambda: sum(not answer.fault for answer in block.answers) / block.wall_s,
        "goodput": lambda: _good(block) / block.wall_s,
        "slo_attainment": lambda: _good(block) / len(block.answers) if block.answers else nan,
    }
    if metric in rates:
        return rates[metric]()
    manner(metric)
    if speed := SPEED.fullmatch(metric):
        return percentile(sorted(_speeds(block)), float(speed["percentile"]))
    named = LATENCY.fullmatch(metric)
    assert named is not None
    values = sorted(latencies(named["latency"], block))
    return percentile(values, float(named["percentile"])) * MILLISECONDS


def percentile(ascending: Sequence[float], percent: float) -> float:
    """A percentile with linear interpolation, which may be infinite; NaN of nothing."""
    if not ascending:
        return nan
    place = percent / 100 * (len(ascending) - 1)
    low, high = ascending[floor(place)], ascending[ceil(place)]
    return (
        high if low == high or (isinf(high) and place > floor(place)) else low + (high - low) * (place - floor(place))
    )


def latencies(name: str, block: Block) -> Iterator[float]:
    """Seconds, one a request (one a gap for itl); an open loop counts from the scheduled time of sending.

    `itl` has the gaps between events that carry tokens, as vLLM's client counts them: undivided however many tokens an
    event carries, so a stall before a burst shows, and zero between events of one packet.  What a token costs on
    average is `tpot`.  `queueing` is the wait from the schedule to the sending.
    """
    for answer in block.answers:
        if name not in WHOLE and not answer.is_streamed:
            continue  # An answer sent whole says nothing of when its tokens were made.
        yield from _latency(name, answer, answer.scheduled_s if block.open_loop else answer.sent_s)


def _latency(name: str, answer: Answer, start: float) -> Sequence[float]:
    if answer.fault:
        return (inf,) * _owed(name, answer)
    of: dict[str, Callable[[Answer, float], Sequence[float]]] = {
        "ttft": _ttft,
        "tpot": _tpot,
        "itl": _itl,
        "e2e_latency": lambda answer, start: (answer.done_s - start - (answer.asked_s - answer.sent_s),),
        "queueing": lambda answer, start: (answer.sent_s - answer.scheduled_s,),
    }
    return of[name](answer, start)


def _owed(name: str, answer: Answer) -> int:
    """How many latencies of a name a failed answer should have had: of one token there is no gap and no mean of gaps.

    An answer that might have ended early owes one gap, another one for each token that it was to have.
    """
    request = answer.request
    later = request.n * request.max_tokens - 1
    if name == "tpot":
        return min(1, later)
    if name == "itl":
        return later if request.ignore_eos else min(1, later)
    return 1


def _speeds(block: Block) -> Iterator[float]:
    """Each request's own tokens per second, from its sending (or its schedule) to its last byte; 0 where it failed."""
    for answer in block.answers:
        start = answer.scheduled_s if block.open_loop else answer.sent_s
        yield 0.0 if answer.fault else answer.tokens / max(answer.done_s - start, 1e-9)


def _good(block: Block) -> int:
    """How many of the issued requests were answered whole and kept every latency of the block's SLO.

    A request keeps `itl` when its longest gap does, whatever the burst after it carries; one that has no such latency,
    a single token's tpot, keeps it.
    """
    good = 0
    for answer in block.answers:
        start = answer.scheduled_s if block.open_loop else answer.sent_s
        good += not answer.fault and all(_longest(name, answer, start) <= bound for name, bound in block.slo.bounds)
    return good


def _longest(name: str, answer: Answer, start: float) -> float:
    return max(_latency(name, answer, start), default=inf if name == "ttft" else 0.0)


def _ttft(answer: Answer, start: float) -> Sequence[float]:
    first = next((event.at_s for event in answer.events if event.tokens), None)
    return () if first is None else (first - start,)


def _tpot(answer: Answer, start: float) -> Sequence[float]:
    times = [event.at_s for event in answer.events if event.tokens]
    return () if answer.tokens < 2 or not times else ((times[-1] - times[0]) / (answer.tokens - 1),)


def _itl(answer: Answer, start: float) -> Sequence[float]:
    times = (event.at_s for event in answer.events if event.tokens)
    return [after - before for before, after in pairwise(times)]
