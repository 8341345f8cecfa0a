"""A long prompt, and prompts that share its beginning up to every residue of a cache's likely block sizes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.relations import TOKENS, Ask, Move, Prompts

BLOCKS = {"quick": 16, "full": 64}
"""The largest block size whose every residue is cut; the residues of 64 hold those of 16 and of 32."""

PREFIX_TOKENS = {"quick": 48, "full": 160}
"""Tokens of the prompt that is cut, or as many as the target's prompts share where those are more."""

BEYOND = 16
LONGEST_TAIL = 3
AFTER_EVICTION = {"quick": 4, "full": 8}
STRANGERS = {"quick": 1, "full": 3}
"""How many times the target's concurrency of long prompts come between, so that a small store forgets the first."""

STRANGERS_SHARE = {"quick": 4, "full": 1}
"""By what the length of such a prompt is divided."""


def positions(length: int, block: int, draws: random.Random) -> list[int]:
    """A cut in 1..`length` for each residue of `block` that a prompt so long has, in random order."""
    found: dict[int, int] = {}
    for place in draws.sample(range(1, length + 1), length):
        found.setdefault(place % block, place)
    return list(found.values())


def around(length: int, above: int, draws: random.Random) -> list[int]:
    """Cuts in 1..`length` at, just before, just behind or somewhere behind a multiple of each larger block size.

    The sizes are the powers of two above `above` of which the prompt holds two blocks: a store that copies its state
    at each block's end goes on from such a copy wherever a cut lies behind the first.
    """
    found, block = [], 2 * above
    while 2 * block <= length:
        start = block * draws.randint(1, length // block)
        found += [
            place for place in (start, start + draws.choice((-1, 1, draws.randrange(2, block)))) if place <= length
        ]
        block *= 2
    return found


def cuts(prompts: Prompts) -> Move:
    """The first sight of a prompt (a miss), its beginnings with other tails (hits), and some after others' traffic.

    The exact repeat and the continued answer are among the hits: there, nothing but the last token may be left to
    compute.  Where the target's prompts share a beginning, it is as long, others of its length part from it, and
    others' traffic comes between at every depth.
    """
    target = prompts.bench.target
    shared = target.shared_tokens + BEYOND if target.shared_tokens else 0
    base = prompts.ids(max(PREFIX_TOKENS[prompts.bench.depth], shared))
    return Move((Ask(prompts.given("cuts", base, TOKENS)),), partial(_hits, prompts, base))


def _hits(prompts: Prompts, base: tuple[int, ...], answers: Sequence[Answer]) -> Move:
    bench, draws = prompts.bench, prompts.draws
    block, shares = BLOCKS[bench.depth], bench.target.shared_tokens > 0
    places = positions(len(base), block, draws) + (around(len(base), block, draws) if shares else [])
    said = answers[0].choices[0].ids if answers[0].choices else ()
    asks = [_continued(prompts, "cuts", base, place) for place in places]
    asks += [Ask(prompts.given("cuts", ids, TOKENS)) for ids in (base, base[:-1], (*base, *said))]
    if shares:
        asks += [Ask(prompts.given("cuts", ids, TOKENS)) for ids in _parted(prompts, base)]
    return Move(tuple(asks), partial(_strangers, prompts, base) if shares or bench.depth == "full" else None)


def _parted(prompts: Prompts, base: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Prompts as long as the first: another token near the end, and other tokens from some place on.

    A single token far from the answer would change it by less than honest noise does.
    """
    late = prompts.draws.randrange(len(base) - BEYOND, len(base))
    place = prompts.draws.randrange(len(prompts.bench.vocabulary.prefix), len(base))
    return [
        (*base[:late], *prompts.tail(1), *base[late + 1 :]),
        (*base[:place], *prompts.tail(len(base) - place)),
    ]


def _strangers(prompts: Prompts, base: tuple[int, ...], _: Sequence[Answer]) -> Move:
    depth, streams = prompts.bench.depth, prompts.bench.target.limits.concurrency
    length = max(PREFIX_TOKENS[depth], len(base) // STRANGERS_SHARE[depth])
    others = [Ask(prompts.given("evicted", prompts.ids(length), 1)) for _ in range(STRANGERS[depth] * streams)]
    return Move(tuple(others), partial(_forgotten, prompts, base), streams)


def _forgotten(prompts: Prompts, base: tuple[int, ...], _: Sequence[Answer]) -> Move:
    count = AFTER_EVICTION[prompts.bench.depth]
    places = prompts.draws.sample(range(1, len(base) + 1), min(count, len(base)))
    return Move(tuple(_continued(prompts, "evicted", base, place) for place in places))


def _continued(prompts: Prompts, kind: str, base: tuple[int, ...], place: int) -> Ask:
    tail = prompts.tail(prompts.draws.randint(1, LONGEST_TAIL))
    return Ask(prompts.given(kind, (*base[:place], *tail), TOKENS))
