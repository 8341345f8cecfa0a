"""Sampled choices against the reference's own distribution, token by token.

Given its own prefix each token is an independent draw from the reference's distribution after temperature, top_k and
top_p, so that surprisals and ranks have known laws; tokens outside the truncated set are counted apart, against
what honest noise puts there on the same contexts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.ratio import Floats
from pytest_vibeserve.reference import Context, Logits
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Request

LEAST_MASS, MASS_FOR_LIMIT = 0.03, 0.1
"""Mass beyond top_p that noise explains: the first, or the second times the largest margin that noise explains."""

COLLISION = 1e-8
"""Two draws that agree though the model gives this probability or less to it are one draw and a copy."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One sampled choice against the reference, summed over its tokens.

    `surplus` is surprisal less entropy and `variance` its variance over tokens inside the set, `ranks` [m] uniform if
    honest; `outside` counts tokens beyond the set, the farthest by `beyond` times what noise explains; `likelihood` is
    the choice's own log probability; `honest_outside` is how many tokens an honest variant would put outside.
    """

    answer: Answer
    surplus: float
    variance: float
    ranks: Floats
    outside: int
    beyond: float
    likelihood: float
    honest_outside: float
    tokens: int


def compare(auditor: Auditor, answers: Sequence[Answer], seed: int) -> list[Drawn]:
    """Every choice of whole answers against the reference, which sees the choice's own prefix.

    A choice whose tokens cannot be those that were drawn is compared by those that can.
    """
    cases = [(a, c) for a in answers if not a.fault for c in a.choices if c.ids and not c.retokenised]
    random, limit = np.random.default_rng(seed), auditor.limit
    found: dict[int, Drawn] = {}
    contexts: dict[int, Context] = {}
    for index, (answer, choice) in enumerate(cases):
        if other := auditor.redrawn(answer, choice):
            found[index] = _drawn(answer, np.asarray(other[0]), other[1], random, limit)
        else:
            contexts[index] = Context(answer.request.prompt_ids, choice.ids)
    places = list(contexts)
    walked = auditor.reference.walk(list(contexts.values()), (REFERENCE, *auditor.variants)) if places else ()
    for place, blocks in walked:
        index = places[place]
        found[index] = _drawn(cases[index][0], np.asarray(contexts[index].output), blocks, random, limit)
    return [found[index] for index in range(len(cases))]


def deviation(drawn: Sequence[Drawn]) -> float:
    """Surprisal less entropy of all tokens together, in standard errors; 0 of nothing."""
    total = sum(item.variance for item in drawn)
    return sum(item.surplus for item in drawn) / math.sqrt(total) if total else 0.0


def unlikely(auditor: Auditor, answer: Answer) -> bool:
    """Whether a second independent draw would hardly ever repeat this answer's first choice."""
    drawn = compare(auditor, [answer], 0)
    return bool(drawn) and drawn[0].likelihood < math.log(COLLISION)


def _drawn(
    answer: Answer, ids: NDArray[np.int64], blocks: tuple[Logits, ...], random: np.random.Generator, limit: float
) -> Drawn:
    request, rows = answer.request, np.arange(len(ids))
    order = np.argsort(-blocks[0], axis=1, kind="stable")
    ordered, place = np.take_along_axis(blocks[0], order, axis=1), np.argsort(order, axis=1)
    size = _support(ordered, request)
    p = _probabilities(ordered, size, request.temperature)
    surprise = -np.log(np.where(p > 0, p, 1))
    entropy = (p * surprise).sum(axis=1)
    variance = (p * np.square(surprise)).sum(axis=1) - np.square(entropy)
    at = place[rows, ids]
    kept = at < size
    uniform = (np.cumsum(p, axis=1) - p)[rows, at] + random.random(len(ids)) * p[rows, at]
    return Drawn(
        answer=answer,
        surplus=float((surprise[rows, at] - entropy)[kept].sum()),
        variance=float(variance[kept].sum()),
        ranks=uniform[kept],
        outside=int((~kept).sum()),
        beyond=float(_beyond(ordered, at, request, limit)[~kept].max(initial=0)),
        likelihood=float(-surprise[rows, at][kept].sum()),
        honest_outside=max(_strays(block, place, size, request) for block in blocks[1:]),
        tokens=len(ids),
    )


def _probabilities(ordered: Logits, size: NDArray[np.int64], temperature: float) -> Floats:
    """Probabilities over descending logits, of which the first `size` of each row may be drawn."""
    scaled = ordered.astype(np.float64) / temperature
    weights = np.where(np.arange(ordered.shape[1]) < size[:, None], np.exp(scaled - scaled[:, :1]), 0)
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found


def _beyond(ordered: Logits, at: NDArray[np.int64], request: Request, limit: float) -> Floats:
    """How far beyond top_k (in logits) or top_p (in mass) the places `at` lie, in units of what noise explains.

    A token below the border of top_p may lie far below the one above it, so only the mass that outranks it counts.
    """
    rows, width = np.arange(len(at)), ordered.shape[1]
    size = min(request.top_k, width) if request.top_k > 0 else width
    short: Floats = (ordered[rows, size - 1] - ordered[rows, at]).astype(np.float64) / limit
    if request.top_p < 1:
        p = _probabilities(ordered, np.full(len(at), size), request.temperature)
        before = (np.cumsum(p, axis=1) - p)[rows, at]
        short = np.maximum(short, (before - request.top_p) / max(LEAST_MASS, MASS_FOR_LIMIT * limit))
    return short


def _support(ordered: Logits, request: Request) -> NDArray[np.int64]:
    """How many of the likeliest tokens may be drawn at each row of descending logits."""
    size: NDArray[np.int64] = np.full(len(ordered), ordered.shape[1], dtype=np.int64)
    if request.top_k > 0:
        size = np.minimum(size, request.top_k)
    if request.top_p < 1:
        scaled = ordered.astype(np.float64) / request.temperature
        weights = np.exp(scaled - scaled[:, :1]) * (np.arange(ordered.shape[1]) < size[:, None])
        before = np.cumsum(weights, axis=1) - weights
        size = np.minimum(size, (before < request.top_p * weights.sum(axis=1, keepdims=True)).sum(axis=1))
    return np.maximum(size, 1)


def _strays(block: Logits, place: NDArray[np.int64], size: NDArray[np.int64], request: Request) -> float:
    """Expected tokens that a variant, truncating its own distribution, puts outside the reference's set."""
    order = np.argsort(-block, axis=1, kind="stable")
    own = np.take_along_axis(block, order, axis=1)
    p = _probabilities(own, _support(own, request), request.temperature)
    strayed = np.take_along_axis(place, order, axis=1) >= size[:, None]
    return float((p * strayed).sum())
