"""The greedy requests of the audit: they go wherever the workload goes, and where caches go wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.target import Mix
from pytest_vibeserve.workload import Request, Workload


def fresh(bench: Bench, draws: random.Random, count: int, kind: str) -> list[Request]:
    """Fresh greedy requests by the mix; half carry logprobs and half are streamed, independently."""
    workload = Workload(bench.target, bench.vocabulary, draws)
    return [
        replace(
            request,
            kind=kind,
            stream=draws.random() < 0.5,
            logprobs=5 if draws.random() < 0.5 else None,
            ignore_eos=draws.random() < 0.75,
        )
        for request in islice(workload.requests(), count)
    ]


def alone_and_together(bench: Bench, draws: random.Random, count: int) -> list[Answer]:
    """Answers to `count` requests: an eighth alone, the rest at the target's concurrency, a quarter after the others.

    The last are twins of answered prompts that differ in one token, and continuations of answered prompts that share
    their beginning up to a random cut, so that a store of answers or of prefixes meets its hardest keys.
    """
    alone = bench.ask(fresh(bench, draws, max(1, count // 8), "alone"), 1)
    related = max(2, count // 4)
    together = _numbered(fresh(bench, draws, max(1, count - len(alone) - related), "under load"))
    first = bench.ask(together, bench.target.limits.concurrency)
    grown = [_related(bench, draws, draws.choice(first), index) for index in range(related)]
    return [*alone, *first, *bench.ask(_numbered(grown), bench.target.limits.concurrency)]


def _related(bench: Bench, draws: random.Random, answer: Answer, index: int) -> Request:
    given = answer.request
    template = fresh(bench, draws, 1, "twin" if index % 2 else "shared prefix")[0]
    kept = len(bench.vocabulary.prefix)
    if index % 2:
        place = draws.randrange(kept, len(given.prompt_ids)) if len(given.prompt_ids) > kept else kept
        ids = list(given.prompt_ids)
        ids[place : place + 1] = [draws.choice(bench.vocabulary.ordinary)]
    else:
        said = answer.choices[0].ids if answer.choices and not answer.choices[0].retokenised else ()
        whole = [*given.prompt_ids, *said]
        cut = draws.randrange(kept + 1, len(whole) + 1) if len(whole) > kept else len(whole)
        ids = [*whole[:cut], *draws.choices(bench.vocabulary.ordinary, k=draws.randint(1, 16))]
    ids = ids[: _longest_prompt(bench.target.mix)]
    room = bench.target.limits.context - len(ids)
    return replace(template, prompt_ids=tuple(ids), prompt_text="", max_tokens=min(template.max_tokens, room))


def _longest_prompt(mix: Sequence[Mix]) -> int:
    return max(part.prompt_tokens[1] for part in mix) + 1


def _numbered(requests: Sequence[Request]) -> list[Request]:
    return [replace(request, id=index) for index, request in enumerate(requests)]
