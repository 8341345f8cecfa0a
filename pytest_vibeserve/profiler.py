"""Where the time goes, told from outside: hints that a search or a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.metrics import Block, latencies
from pytest_vibeserve.report import Hint

MOST_COMPARED = 16
"""Answers that are held against their predictions: each takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The blocks of one load, its concurrency, and the candidate's CPU seconds over them (None when unknown)."""

    concurrency: int
    blocks: tuple[Block, ...]
    cpu_s: float | None

    @property
    def wall_s(self) -> float:
        """Seconds of load."""
        return sum(block.wall_s for block in self.blocks)

    @property
    def throughput(self) -> float:
        """Output tokens per second; answers per second where answers are no tokens."""
        return sum(block.tokens or len(block.answers) for block in self.blocks) / self.wall_s

    def median(self, latency: str) -> float:
        """Median of a latency over all requests (seconds)."""
        values = [value for block in self.blocks for value in latencies(latency, block)]
        return float(np.median(values)) if values else 0.0


def hints(observed: Mapping[str, Observation], floor_s: Callable[[int], float], cores: int) -> Iterator[Hint]:
    """Each hint's value says how many times above its floor something is: 1 means that nothing is to be had there.

    `floor_s` gives the seconds that a step of so many streams takes at least on this machine.
    """
    single = min(observed.values(), key=lambda o: o.concurrency)
    busy = max(observed.values(), key=lambda o: o.concurrency)
    yield from _single_stream(single, floor_s(1))
    yield from _foreseeable(busy)
    if busy.concurrency > single.concurrency:
        yield from _under_load(single, busy)
        yield from _host(busy, floor_s(busy.concurrency))
        if busy.cpu_s is not None:
            used = max(busy.cpu_s / busy.wall_s, 1e-3)
            yield Hint(
                name="idle-cores", value=max(1.0, cores / used), text=f"under load {used:.2f} of {cores} cores are used"
            )


def _single_stream(single: Observation, step_floor_s: float) -> Iterator[Hint]:
    tpot = single.median("tpot")
    if step_floor_s > 0 and tpot > 0:
        yield Hint(
            name="step-overhead",
            value=tpot / step_floor_s,
            text=f"alone, a token takes {tpot * 1e3:.2f} ms; reading the weights takes {step_floor_s * 1e3:.2f} ms",
        )


def _foreseeable(load: Observation) -> Iterator[Hint]:
    """What of the work was known before: answers that clients foretold, and beginnings that prompts share."""
    answers = [answer for block in load.blocks for answer in block.answers if not answer.fault and answer.choices]
    foretold = [answer for answer in answers if answer.request.prediction is not None][:MOST_COMPARED]
    if foretold:
        told = sum(map(_told_before, foretold)) / len(foretold)
        share = told * sum(answer.request.prediction is not None for answer in answers) / len(answers)
        words = f"{share:.0%} of what is answered stands in predictions that the clients gave"
        yield Hint(name="foretold-answers", value=1 / max(0.01, 1 - share), text=words)
    prompts = sorted(tuple(answer.request.prompt_ids) for answer in answers)
    if len(set(prompts)) > 1:
        shared = sum(_common(one, other) for one, other in pairwise(prompts))
        share = shared / sum(map(len, prompts))
        words = f"{share:.0%} of all prompts' tokens stood at the beginning of another prompt of the same load"
        yield Hint(name="shared-beginnings", value=1 / max(0.01, 1 - share), text=words)


def _told_before(answer: Answer) -> float:
    """The share of an answer that stands, in order, in its prediction."""
    said, foretold = answer.choices[0], answer.request.prediction
    if isinstance(foretold, str):
        return _found_again(said.text, foretold)
    return _found_again(said.ids, foretold or ())


def _found_again(said: Sequence[Hashable], foretold: Sequence[Hashable]) -> float:
    """The share of `said` that stands, in order, in `foretold`."""
    matches = SequenceMatcher(None, said, foretold, autojunk=False).get_matching_blocks()
    return sum(match.size for match in matches) / max(1, len(said))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that two prompts begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _host(busy: Observation, floor_s: float) -> Iterator[Hint]:
    tpot = busy.median("tpot")
    if floor_s > 0 and tpot > 0:
        yield Hint(
            name="host-overhead",
            value=max(1.0, tpot / floor_s),
            text=f"a step for {busy.concurrency} streams takes {tpot * 1e3:.2f} ms, at best {floor_s * 1e3:.2f} ms",
        )


def _under_load(single: Observation, busy: Observation) -> Iterator[Hint]:
    scaling = busy.throughput / single.throughput
    yield Hint(
        name="serial-service",
        value=max(1.0, busy.concurrency / max(scaling, 1e-3) / 4),
        text=f"{busy.concurrency} streams give {scaling:.2f} times the throughput of {single.concurrency}",
    )
    alone, queued = single.median("ttft"), busy.median("ttft")
    if alone > 0:
        yield Hint(
            name="queueing",
            value=max(1.0, queued / alone),
            text=f"the first token takes {queued * 1e3:.1f} ms at {busy.concurrency}, {alone * 1e3:.1f} ms alone",
        )
    gaps = [gap for block in busy.blocks for gap in latencies("itl", block)]
    if gaps and np.median(gaps) > 0:
        worst, usual = float(np.percentile(gaps, 99)), float(np.median(gaps))
        yield Hint(
            name="prefill-stall",
            value=max(1.0, worst / usual),
            text=f"under load the 99th percentile gap is {worst * 1e3:.1f} ms, the median {usual * 1e3:.1f} ms",
        )
    step, tpot = single.median("tpot"), busy.median("tpot")
    if step > 0:
        yield Hint(
            name="batch-efficiency",
            value=max(1.0, tpot / step),
            text=f"a token takes {tpot * 1e3:.2f} ms at {busy.concurrency} streams, {step * 1e3:.2f} ms alone",
        )
