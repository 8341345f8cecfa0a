"""Predictions that clients give of an answer: whatever they say, the answer stays the model's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.probes import fresh
from pytest_vibeserve.workload import Request

REQUESTS = {"quick": 4, "full": 48}
LONGEST = {"quick": 24, "full": 128}
"""Tokens of an answer, but for the first, which is as long as the load's: a prediction that shows does so soon."""

SPOILT = 3
"""One token in so many of a spoilt prediction is another one."""

RIVAL = 6
"""One token in so many of a likely prediction is the model's second choice."""

LATE = 16
"""Predictions of the longest answer that are right but for one of its last tokens, each for another one.

Drafts of any length up to that have their last token, and every other, wrong once after all before were right.
"""

Predictions = dict[str, str | tuple[int, ...] | None]


def predicted(bench: Bench, draws: random.Random, auditor: Auditor) -> list[Answer]:
    """Answers to greedy requests without a prediction, and to the same with every kind of one."""
    count, concurrency = REQUESTS[bench.depth], bench.target.limits.concurrency
    drawn = fresh(bench, draws, count, "none")
    plain = [replace(one, id=index, prediction=None) for index, one in enumerate(drawn)]
    plain[1:] = [replace(one, max_tokens=min(one.max_tokens, LONGEST[bench.depth])) for one in plain[1:]]
    first = bench.ask(plain, concurrency)
    spoken = [answer for answer in first if answer.choices and answer.choices[0].ids]
    again = [
        replace(answer.request, prediction=prediction, kind=kind, stream=draws.random() < 0.5)
        for answer in spoken
        for kind, prediction in kinds(answer, spoken, bench.vocabulary.ordinary, draws).items()
    ]
    again += [
        replace(answer.request, prediction=one, kind="wrong at last")
        for answer in sorted(spoken, key=lambda answer: answer.tokens)[-1:]
        for one in wrong_at_last(answer.choices[0].ids, bench.vocabulary.ordinary, draws)
    ]
    again += [
        replace(item.request, prediction=likely(item, auditor.limit), kind="likely")
        for item in auditor.gathered(spoken, noise=False)
    ]
    return [*first, *bench.ask(_numbered(again), concurrency)]


def kinds(answer: Answer, others: Sequence[Answer], ordinary: Sequence[int], draws: random.Random) -> Predictions:
    """Predictions of one answer by kind, in ids and in text: right, partly right, somebody else's, and none."""
    said, text = answer.choices[0].ids, answer.choices[0].text
    spoilt = tuple(draws.choice(ordinary) if draws.randrange(SPOILT) == 0 else token for token in said)
    foreign, half = draws.choice(others).choices[0], len(text) // 2
    return {
        "right": said,
        "right text": text,
        "late": said[len(said) // 2 :],
        "spoilt": spoilt,
        "spoilt text": text[:half] + foreign.text[half:] + text[half:],
        "shuffled": tuple(draws.sample(said, len(said))),
        "foreign": foreign.ids,
        "prompt": tuple(answer.request.prompt_ids),
        "endless": 8 * said,
        "empty": "",
    }


def wrong_at_last(said: tuple[int, ...], ordinary: Sequence[int], draws: random.Random) -> list[tuple[int, ...]]:
    """The answer with one of its last tokens exchanged, for each of them."""
    places = range(max(1, len(said) - LATE), len(said))
    return [(*said[:place], draws.choice(ordinary), *said[place + 1 :]) for place in places]


def likely(item: Evidence, limit: float) -> tuple[int, ...]:
    """The answer with a token in so many exchanged for the model's second choice, where that is nearest to its first.

    Nearer than `limit` (logits) noise might have chosen it: there, nothing is exchanged.  Whoever keeps what the model
    finds likely enough keeps these; a token that was drawn is never likely.
    """
    said, found = np.asarray(item.context.output), list(item.context.output)
    gaps = item.truth[:, 0] - item.truth[:, 1]
    gaps = np.where((item.top[:, 0] == said) & (gaps > limit), gaps, np.inf)
    # The first token is of the prompt's own step, before which nothing is drafted.
    for start in range(1, len(found), RIVAL):
        place = start + int(gaps[start : start + RIVAL].argmin())
        if np.isfinite(gaps[place]):
            found[place] = int(item.top[place, 1])
    return tuple(found)


def _numbered(requests: Sequence[Request]) -> list[Request]:
    return [replace(request, id=index) for index, request in enumerate(requests)]
