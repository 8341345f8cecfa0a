"""Whether a prompt that comes again is computed again, told by how long its decoding takes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.agreement import described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.draws import unlikely
from pytest_vibeserve.judge.ratio import binomial_tail
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request, Workload

PAIRS = {"quick": 6, "full": 24}
PROMPT_TOKENS, ANSWER_TOKENS = 12, 14
FASTER = {True: 0.2, False: 0.6}
"""A repeat this share of a fresh request's time, or less, is far faster; drafts that the rules allow gain honestly."""

CHANCE = 0.05
"""How often noise alone may make an honest pair look like that; the machine's hiccups fall on either side."""

SIGNIFICANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Pair:
    """End-to-end seconds of a prompt that came again and of a fresh one of the same shape right beside it."""

    fresh_s: float
    again_s: float
    answer: Answer

    @property
    def share(self) -> float:
        """The time of the repeat in units of the fresh one's."""
        return self.again_s / self.fresh_s


Spoken = Callable[[Request], Request]
"""Makes a completion a request of some route of the server."""


def paired(bench: Bench, draws: random.Random, spoken: Spoken = lambda request: request) -> list[Pair]:
    """Prompts together at first, then each again, alone, beside a fresh one, the two in random order.

    Neighbours in time share the machine's state, so that only the prompt's novelty differs.  Prompts are short and
    answers long: all that a store of prefixes can save is the prefill of a dozen tokens.
    """
    count = PAIRS[bench.depth]
    workload = Workload(bench.target, bench.vocabulary, draws)
    tokens = min(ANSWER_TOKENS, bench.target.limits.context - PROMPT_TOKENS - 2)
    requests = [spoken(_request(index, workload, tokens)) for index in range(2 * count)]
    bench.ask(requests[:count], bench.target.limits.concurrency)
    order = [index for pair in range(count) for index in draws.sample([pair, pair + count], 2)]
    second = dict(zip(order, bench.ask([requests[index] for index in order]), strict=True))
    return [Pair(_seconds(second[index + count]), _seconds(second[index]), second[index]) for index in range(count)]


def check(pairs: Sequence[Pair], speculation: bool) -> Check:
    """Only as many repeats may be far faster than their neighbours as chance makes so (sign test over the pairs)."""
    limit = FASTER[speculation]
    shares = [pair.share for pair in pairs]
    fast = sum(share < limit for share in shares)
    failed = binomial_tail(fast, len(shares), CHANCE) < SIGNIFICANCE
    quickest = min(pairs, key=lambda pair: pair.share)
    return Check(
        name="repeats.computed",
        result="fail" if failed else "pass",
        statistic=float(np.median(shares)),
        threshold=limit,
        unit="x",
        detail=f"{fast} of {len(shares)} prompts that came again took less than {limit:.0%} of a fresh one's time; "
        f"the median took {float(np.median(shares)):.0%}",
        example=f"{quickest.share:.1%} of a fresh prompt's time: {described(quickest.answer)}" if failed else "",
    )


def same_draw(bench: Bench, auditor: Auditor, draws: random.Random) -> Check:
    """One sampled prompt three times without a seed: the answers must not all be one unlikely answer."""
    workload = Workload(bench.target, bench.vocabulary, draws)
    request = replace(_request(0, workload, 12), temperature=1.0)
    answers = bench.ask([replace(request, id=index) for index in range(3)])
    said = {choice.ids or choice.text for answer in answers for choice in answer.choices}
    stored = len(said) == 1 and unlikely(auditor, answers[0])
    return Check(
        name="repeats.sampled",
        result="fail" if stored else "pass",
        statistic=len(said),
        threshold=2,
        unit="answers",
        detail=f"a sampled prompt sent three times without a seed gave {len(said)} different answers",
        example=described(answers[0]) if stored else "",
    )


def _request(identity: int, workload: Workload, tokens: int) -> Request:
    text, ids = workload.prompt(PROMPT_TOKENS)
    return Request(id=identity, prompt_ids=ids, prompt_text=text, max_tokens=tokens, stream=True, kind="repeat")


def _seconds(answer: Answer) -> float:
    return max(answer.done_s - answer.sent_s, 1e-6)
