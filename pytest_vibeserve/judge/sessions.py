"""What every answer must still be when many share a server: one check for each relation, all audited at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.agreement import breaches, described
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.crowd import Crowd, Heard
from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.relations import LONGEST, Ask
from pytest_vibeserve.judge.termination import Breach
from pytest_vibeserve.report import Check

COUNTS: Mapping[str, Mapping[str, int]] = {
    "quick": {"twins": 6, "stream": 0, "prediction": 0},
    "full": {
        "cuts": 2, "twins": 48, "batch": 6, "order": 2, "stream": 8, "additivity": 8, "cancel": 10, "lengths": 8,
        "secrets": 8, "prediction": 4,
    },
}  # fmt: skip
"""How often each relation is begun in one session; once where nothing is said.

A quick one leaves out what the interface asks anyway, and predictions, which a plain completion does not know.
"""

LONGEST_RUN = 3
"""Consecutive tokens of a secret that chance may put into a stranger's answer: four are one in 10^9 or less."""

FLURRY, FLURRY_TOKENS = 200, 8
FLURRY_S = (0.005, 0.06)
SLOWER = 3.0
"""How many times longer a full house may take after many have left than before: the better of two, and once more."""

SURVIVORS = 8


def session_checks(crowd: Crowd, auditor: Auditor, end_ids: frozenset[int]) -> Iterator[Check]:
    """Checks `sessions.<relation>` and `sessions.leak`; at full depth those of capacity and restart as well."""
    bench = crowd.prompts.bench
    deep = bench.depth == "full"
    crowd.visit(COUNTS[bench.depth])
    last = [room(crowd), _restarted(crowd, auditor.reference.folder)] if deep else []
    stayed = [one for one in crowd.heard if not one.gone]
    # A reference pads what it reads together: long prompts and short ones are read apart.
    long, short = ([one.answer for one in stayed if _is_long(one) == wanted] for wanted in (True, False))
    evidence = [*auditor.gathered(long, noise=False), *auditor.gathered(short, noise=False)]
    wrong = partial(breaches, vocabulary=bench.vocabulary, end_ids=end_ids)
    for name in dict.fromkeys(one.ask.request.kind for one in stayed):
        answers = [one.answer for one in stayed if one.ask.request.kind == name]
        yield related(name, answers, [item for item in evidence if item.request.kind == name], auditor, wrong)
    yield leaked(stayed)
    yield from last


def related(
    name: str,
    answers: Sequence[Answer],
    evidence: Sequence[Evidence],
    auditor: Auditor,
    wrong: Callable[[Answer], Iterator[Breach]],
) -> Check:
    """The answers of one relation agree with themselves, and each is the model's own for its own prompt."""
    found = [(answer, breach) for answer in answers for breach in wrong(answer)]
    if found:
        answer, breach = found[0]
        return Check(
            name=f"sessions.{name}", result="fail", statistic=len(found), threshold=0, unit="breaches",
            detail=f"{len(answers)} answers, and one is wrong in itself: {breach.message}", example=described(answer),
        )  # fmt: skip
    return auditor.single(evidence, name).model_copy(update={"name": f"sessions.{name}"})


def leaked(heard: Sequence[Heard]) -> Check:
    """No run of one request's secret is in another's answer, nor in a prompt that the other did not have."""
    owners = [one.ask.secret for one in heard if one.ask.secret]
    worst, longest = None, 0
    for one in heard:
        said = [choice.ids for choice in one.answer.choices]
        if one.answer.prompt_ids != one.ask.request.prompt_ids:
            said.append(one.answer.prompt_ids or ())
        for secret in owners:
            run = max((longest_run(secret, ids) for ids in said), default=0)
            if secret != one.ask.secret and run > longest:
                worst, longest = one, run
    failed = longest > LONGEST_RUN
    return Check(
        name="sessions.leak", result="fail" if failed else "pass", statistic=longest, threshold=LONGEST_RUN,
        unit="tokens", example=described(worst.answer) if failed and worst else "",
        detail=f"the longest piece of {len(owners)} secrets that a stranger was told has {longest} tokens",
    )  # fmt: skip


def longest_run(secret: Sequence[int], ids: Sequence[int]) -> int:
    """Tokens of the longest piece of a secret (of distinct tokens) that stands in `ids`."""
    following = dict(pairwise(secret))
    longest = run = 0
    before = -1
    for token in ids:
        run = run + 1 if run and following.get(before) == token else int(token in secret)
        longest, before = max(longest, run), token
    return longest


def room(crowd: Crowd) -> Check:
    """A full house is served as quickly after two hundred clients have left as it was before."""
    prompts, most = crowd.prompts, crowd.prompts.streams[-1]
    before = max(_full_house(crowd) for _ in range(2))
    gone = [replace(prompts.fresh("capacity", FLURRY_TOKENS), stream=True) for _ in range(FLURRY)]
    crowd.heard += crowd.sent([Ask(one, prompts.draws.uniform(*FLURRY_S)) for one in gone], most)
    after = min(_full_house(crowd) for _ in range(2))
    if after > SLOWER * before:
        after = min(after, _full_house(crowd))
    share = after / max(before, 1e-6)
    return Check(
        name="sessions.room", result="fail" if share > SLOWER else "pass", statistic=share, threshold=SLOWER, unit="x",
        detail=f"{most} requests took {before:.3f} s before {FLURRY} others were cancelled, {after:.3f} s after it",
    )  # fmt: skip


def _is_long(heard: Heard) -> bool:
    return len(heard.ask.request.prompt_ids) > LONGEST


def _full_house(crowd: Crowd) -> float:
    """Seconds until as many requests as must be served together have been answered."""
    asks = [Ask(crowd.prompts.fresh("capacity")) for _ in range(crowd.prompts.streams[-1])]
    found = crowd.sent(asks, len(asks))
    crowd.heard += found
    return max(one.answer.done_s for one in found)


def _restarted(crowd: Crowd, model: Path) -> Check:
    """A candidate that was killed and started anew answers the same prompts, and others, as the model does."""
    again = crowd.prompts.draws.sample([one.ask for one in crowd.heard if not one.gone], SURVIVORS)
    asks = [replace(ask, request=replace(ask.request, kind="restart")) for ask in again]
    asks += [Ask(crowd.prompts.fresh("restart")) for _ in range(SURVIVORS)]
    with ExitStack() as stack:
        try:
            next_life = stack.enter_context(crowd.prompts.bench.relaunched(model))
        except pytest.skip.Exception as reason:
            return Check(name="sessions.relaunched", result="skip", detail=str(reason))
        found = crowd.sent(asks, crowd.prompts.streams[-1], next_life)
    crowd.heard += found
    return Check(
        name="sessions.relaunched", result="pass", statistic=len(found), threshold=len(found), unit="requests",
        detail=f"started anew on the same model, then asked {len(found)} requests, {SURVIVORS} of them again",
    )  # fmt: skip
