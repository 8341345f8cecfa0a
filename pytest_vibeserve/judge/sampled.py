"""Whether sampled tokens are draws from the distribution that was asked for, without sharing random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_vibeserve.judge.agreement import described
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.draws import COLLISION, Drawn, deviation
from pytest_vibeserve.judge.probes import fresh
from pytest_vibeserve.judge.ratio import binomial_tail
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request, samplings

REQUESTS = {"quick": 12, "full": 130}
LONGEST_ANSWER = {"quick": 28, "full": 64}


@dataclass(frozen=True, slots=True)
class Strictness:
    """How far draws may stray: two-sided normal, Kolmogorov's sqrt(n) D, and the tail of the binomial."""

    z: float
    uniform: float
    outside: float


AT_FIRST = Strictness(3.29, 1.95, 1e-4)
"""One honest server in a thousand for surprisal and ranks, which are tried once more, so one in a million; one in ten
thousand for tokens outside the set, beside what honest noise puts there."""

IN_PASSING = Strictness(4.89, 2.694, 1e-6)
"""One in a million, for the sampled answers among others, which are not asked for again."""

COLD = 0.65
EACH_WAY = 0.5
"""Standard errors that are added to a limit where each of the ways of sampling is looked at by itself."""


def requests(bench: Bench, purpose: str) -> list[Request]:
    """Fresh sampled requests: every way of sampling in turn, one in three with several choices."""
    draws = bench.draws(purpose)
    given = fresh(bench, draws, REQUESTS[bench.depth], "sampled")
    longest = LONGEST_ANSWER[bench.depth]
    found = []
    for index, (request, (temperature, top_p, top_k)) in enumerate(zip(given, samplings(draws), strict=False)):
        found.append(
            replace(
                request,
                id=index, temperature=temperature, top_p=top_p, top_k=top_k, n=2 if index % 3 == 0 else 1,
                max_tokens=min(longest, request.max_tokens), ignore_eos=True,
            )
        )  # fmt: skip
    return found


def checks(drawn: Sequence[Drawn], prefix: str = "sampled", strictness: Strictness = AT_FIRST) -> list[Check]:
    """The checks of sampled answers: surprisal, ranks, tokens outside the set, copies."""
    if not drawn:
        return []
    found = [_surprisal(drawn, strictness.z), _ranks(drawn, strictness.uniform)]
    found += [_outside(drawn, strictness.outside), _copies(drawn)]
    return [check.model_copy(update={"name": f"{prefix}.{check.name}"}) for check in found]


def _surprisal(drawn: Sequence[Drawn], limit: float) -> Check:
    """All tokens together, or those of the one way of sampling that is odder; few can only be told to be likelier.

    A sum of surprisals has a long tail upwards and none downwards, so that the normal law holds for few on one side.
    """
    ways: dict[str, list[Drawn]] = {}
    for item in drawn:
        ways.setdefault(_way(item.answer.request), []).append(item)
    words, z, which = "", deviation(drawn), list(drawn)
    likelier = min(ways, key=lambda way: deviation(ways[way]))
    if deviation(ways[likelier]) < min(-limit - EACH_WAY, -abs(z)):
        words, z, which, limit = f" {likelier}", deviation(ways[likelier]), ways[likelier], limit + EACH_WAY
    tokens = sum(item.tokens for item in which)
    return Check(
        name="surprisal", result="fail" if abs(z) > limit else "pass", statistic=abs(z), threshold=limit,
        unit="standard errors", example=_oddest(which) if abs(z) > limit else "",
        detail=f"{tokens} tokens{words} are {'likelier' if z < 0 else 'less likely'} than draws from the model: "
        f"z {z:.2f}",
    )  # fmt: skip


def _way(request: Request) -> str:
    cut = [name for name, cuts in (("top_p", request.top_p < 1), ("top_k", request.top_k > 0)) if cuts]
    if cut:
        return f"with {' and '.join(cut)}"
    return "at low temperatures" if request.temperature < COLD else "at their own temperature"


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
