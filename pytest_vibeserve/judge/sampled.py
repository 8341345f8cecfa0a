"""Whether sampled tokens are draws from the distribution that was asked for, without sharing random numbers.

Given its own prefix each token is an independent draw from the reference's distribution after temperature, top_k and
top_p, so that surprisals and ranks have known laws; tokens outside the truncated set are counted apart, against
what honest noise puts there on the same contexts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.agreement import described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.probes import fresh
from pytest_vibeserve.judge.ratio import Floats, binomial_tail
from pytest_vibeserve.reference import Context, Logits
from pytest_vibeserve.report import Check
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import SAMPLINGS, Request

REQUESTS = {"quick": 12, "full": 72}
LONGEST_ANSWER = {"quick": 28, "full": 64}


@dataclass(frozen=True, slots=True)
class Strictness:
    """How far draws may stray: two-sided normal, Kolmogorov's sqrt(n) D, and the tail of the binomial."""

    z: float
    uniform: float
    outside: float


AT_FIRST = Strictness(3.89, 2.226, 1e-4)
"""One honest server in ten thousand for each check; a soft failure is tried once more."""

IN_PASSING = Strictness(4.89, 2.694, 1e-6)
"""One in a million, for the sampled answers among others, which are not asked for again."""

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


def requests(bench: Bench, purpose: str) -> list[Request]:
    """Fresh sampled requests: every way of sampling in turn, one in three with several choices."""
    draws = bench.draws(purpose)
    given = fresh(bench, draws, REQUESTS[bench.depth], "sampled")
    longest = LONGEST_ANSWER[bench.depth]
    found = []
    for index, request in enumerate(given):
        temperature, top_p, top_k = SAMPLINGS[index % len(SAMPLINGS)]
        found.append(
            replace(
                request,
                id=index, temperature=temperature, top_p=top_p, top_k=top_k, n=2 if index % 3 == 0 else 1,
                max_tokens=min(longest, request.max_tokens), ignore_eos=True,
            )
        )  # fmt: skip
    return found


def compare(auditor: Auditor, answers: Sequence[Answer], seed: int) -> list[Drawn]:
    """Every choice of whole answers against the reference, which sees the choice's own prefix."""
    cases = [(a, c) for a in answers if not a.fault for c in a.choices if c.ids and not c.retokenised]
    contexts = [Context(answer.request.prompt_ids, choice.ids) for answer, choice in cases]
    random = np.random.default_rng(seed)
    found: dict[int, Drawn] = {}
    for index, blocks in auditor.reference.walk(contexts, (REFERENCE, *auditor.variants)) if cases else ():
        found[index] = _drawn(cases[index][0], np.asarray(contexts[index].output), blocks, random, auditor.limit)
    return [found[index] for index in range(len(cases))]


def checks(drawn: Sequence[Drawn], prefix: str = "sampled", strictness: Strictness = AT_FIRST) -> list[Check]:
    """The checks of sampled answers: surprisal, ranks, tokens outside the set, copies."""
    if not drawn:
        return []
    found = [_surprisal(drawn, strictness.z), _ranks(drawn, strictness.uniform)]
    found += [_outside(drawn, strictness.outside), _copies(drawn)]
    return [check.model_copy(update={"name": f"{prefix}.{check.name}"}) for check in found]


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


def _surprisal(drawn: Sequence[Drawn], limit: float) -> Check:
    total = sum(item.variance for item in drawn)
    z = sum(item.surplus for item in drawn) / math.sqrt(total) if total else 0.0
    tokens = sum(item.tokens for item in drawn)
    return Check(
        name="surprisal", result="fail" if abs(z) > limit else "pass", statistic=abs(z), threshold=limit,
        unit="standard errors", example=_oddest(drawn) if abs(z) > limit else "",
        detail=f"{tokens} tokens are {'likelier' if z < 0 else 'less likely'} than draws from the model: z {z:.2f}",
    )  # fmt: skip


def _ranks(drawn: Sequence[Drawn], limit: float) -> Check:
    values = np.sort(np.concatenate([item.ranks for item in drawn]))
    size = len(values)
    steps = np.arange(1, size + 1) / max(1, size)
    gaps = np.concatenate([np.abs(steps - values), np.abs(values - steps + 1 / max(1, size))])
    distance = float(gaps.max(initial=0.0)) * math.sqrt(size)
    return Check(
        name="ranks", result="fail" if distance > limit else "pass", statistic=distance,
        threshold=limit, unit="sqrt(n) D", example=_oddest(drawn) if distance > limit else "",
        detail=f"ranks of {size} tokens against the uniform law: {distance:.2f}",
    )  # fmt: skip


def _oddest(drawn: Sequence[Drawn]) -> str:
    return described(max(drawn, key=lambda item: abs(item.surplus)).answer)


def _outside(drawn: Sequence[Drawn], significance: float) -> Check:
    cut = [item for item in drawn if item.answer.request.top_k > 0 or item.answer.request.top_p < 1]
    count, tokens = sum(item.outside for item in cut), sum(item.tokens for item in cut)
    honest = sum(item.honest_outside for item in cut) / max(1, tokens)
    allowed = 2 * honest + 0.002
    farthest = max(cut, key=lambda item: item.beyond, default=None)
    far = farthest is not None and farthest.beyond > 1
    failed = far or binomial_tail(count, tokens, allowed) < significance
    return Check(
        name="support", result="fail" if failed else "pass", statistic=count / max(1, tokens),
        threshold=allowed, unit="share", example=described(farthest.answer) if failed and farthest else "",
        detail=f"{count} of {tokens} tokens lie outside top_k and top_p (honest noise: {honest:.2%}), "
        f"the farthest by {farthest.beyond if farthest else 0:.2f} times what noise explains",
    )  # fmt: skip


def _copies(drawn: Sequence[Drawn]) -> Check:
    copies = [
        (one, other)
        for index, one in enumerate(drawn)
        for other in drawn[index + 1 : index + 2]
        if one.answer is other.answer and len(one.answer.choices) > 1
        and one.likelihood < math.log(COLLISION) and len({c.ids for c in one.answer.choices}) == 1
    ]  # fmt: skip
    return Check(
        name="copies", result="fail" if copies else "pass", statistic=len(copies), threshold=0, unit="answers",
        detail=f"{len(copies)} answers repeat one choice where independent draws were asked for",
        example=described(copies[0][0].answer) if copies else "",
    )  # fmt: skip
