"""The requests of the audit: they go wherever the workload goes, and where caches go wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.target import Mix
from pytest_vibeserve.workload import Request, Workload

LARGEST_PART = 64
"""Requests alone are slow, and those that resemble others are many already among the rest."""

AT_ONCE = 256


def fresh(bench: Bench, draws: random.Random, count: int, kind: str) -> list[Request]:
    """Fresh greedy requests by the mix, with its flags."""
    found = drawn(bench, draws, count)
    return [replace(request, kind=kind, temperature=0.0, top_p=1.0, top_k=0) for request in found]


def alone_and_together(bench: Bench, draws: random.Random, count: int) -> list[Answer]:
    """Answers to `count` requests: some alone, the rest at the target's concurrency, a part of it after the others.

    All are drawn as those of a load are.  The last resemble what was answered: twins of its prompts that differ in one
    token, and continuations that share its beginning up to a random cut, so that a store of answers or of prefixes
    meets its hardest keys.
    """
    related = max(2, min(count // 4, LARGEST_PART))
    few = max(1, min(count // 8, LARGEST_PART // 2))
    alone = bench.ask(drawn(bench, draws, few), 1)
    together = drawn(bench, draws, max(1, count - few - related))
    first: list[Answer] = []
    for start in range(0, len(together), AT_ONCE):
        first += bench.ask(together[start : start + AT_ONCE], bench.target.limits.concurrency)
    grown = [_related(bench, draws, draws.choice(first), index) for index in range(related)]
    return [*alone, *first, *bench.ask(_numbered(grown), bench.target.limits.concurrency)]


def drawn(bench: Bench, draws: random.Random, count: int) -> list[Request]:
    """Fresh requests just as a load has them."""
    return Workload(bench.target, bench.vocabulary, draws).take(count)


def _related(bench: Bench, draws: random.Random, answer: Answer, index: int) -> Request:
    given = answer.request
    plain = next(Workload(bench.target, bench.vocabulary, draws).requests())
    kind = "twin" if index % 2 else "shared prefix"
    template = replace(plain, kind=kind, temperature=0.0, top_p=1.0, top_k=0)
    kept = len(bench.vocabulary.prefix)
    if index % 2:
        place = draws.randrange(kept, len(given.prompt_ids)) if len(given.prompt_ids) > kept else kept
        ids = list(given.prompt_ids)
        ids[place : place + 1] = [draws.choice(bench.vocabulary.spelt)]
    else:
        said = answer.choices[0].ids if answer.choices and not answer.choices[0].retokenised else ()
        whole = [*given.prompt_ids, *said]
        cut = draws.randrange(kept + 1, len(whole) + 1) if len(whole) > kept else len(whole)
        ids = [*whole[:cut], *draws.choices(bench.vocabulary.spelt, k=draws.randint(1, 16))]
    ids = ids[: _longest_prompt(bench.target.mix)]
    room = bench.target.limits.context - len(ids)
    return replace(template, prompt_ids=tuple(ids), prompt_text="", max_tokens=min(template.max_tokens, room))


def _longest_prompt(mix: Sequence[Mix]) -> int:
    return max(part.prompt_tokens[1] for part in mix) + 1


def _numbered(requests: Sequence[Request]) -> list[Request]:
    return [replace(request, id=index) for index, request in enumerate(requests)]
