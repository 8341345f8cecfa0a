"""Predictions that clients give of an answer: whatever they say, the answer stays the model's own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.probes import fresh
from pytest_vibeserve.workload import Request

REQUESTS = {"quick": 4, "full": 48}
LONGEST = {"quick": 24, "full": 128}
"""Tokens of an answer: a prediction that shows does so soon."""

SPOILT = 3
"""One token in so many of a spoilt prediction is another one."""

Predictions = dict[str, str | tuple[int, ...] | None]


def predicted(bench: Bench, draws: random.Random) -> list[Answer]:
    """Answers to greedy requests without a prediction, and to the same with every kind of one."""
    count, concurrency = REQUESTS[bench.depth], bench.target.limits.concurrency
    drawn = fresh(bench, draws, count, "none")
    plain = [
        replace(one, id=index, prediction=None, max_tokens=min(one.max_tokens, LONGEST[bench.depth]))
        for index, one in enumerate(drawn)
    ]
    first = bench.ask(plain, concurrency)
    spoken = [answer for answer in first if answer.choices and answer.choices[0].ids]
    again = [
        replace(answer.request, prediction=prediction, kind=kind, stream=draws.random() < 0.5)
        for answer in spoken
        for kind, prediction in kinds(answer, spoken, bench.vocabulary.ordinary, draws).items()
    ]
    return [*first, *bench.ask(_numbered(again), concurrency)]


def kinds(answer: Answer, others: Sequence[Answer], ordinary: Sequence[int], draws: random.Random) -> Predictions:
    """Predictions of one answer by kind: right in ids and in text, late, spoilt, shuffled, foreign, endless, empty."""
    said, text = answer.choices[0].ids, answer.choices[0].text
    spoilt = tuple(draws.choice(ordinary) if draws.randrange(SPOILT) == 0 else token for token in said)
    return {
        "right": said,
        "right text": text,
        "late": said[len(said) // 2 :],
        "spoilt": spoilt,
        "shuffled": tuple(draws.sample(said, len(said))),
        "foreign": draws.choice(others).choices[0].ids,
        "prompt": tuple(answer.request.prompt_ids),
        "endless": 8 * said,
        "empty": "",
    }


def _numbered(requests: Sequence[Request]) -> list[Request]:
    return [replace(request, id=index) for index, request in enumerate(requests)]
