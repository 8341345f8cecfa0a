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
LONGEST_TAIL = 3
AFTER_EVICTION = 8
STRANGERS = 3
"""How many times the target's concurrency of long prompts come between, so that a small store forgets the first."""


def positions(length: int, block: int, draws: random.Random) -> list[int]:
    """A cut in 1..`length` for each residue of `block` that a prompt so long has, in random order."""
    found: dict[int, int] = {}
    for place in draws.sample(range(1, length + 1), length):
        found.setdefault(place % block, place)
    return list(found.values())


def cuts(prompts: Prompts) -> Move:
    """The first sight of a prompt (a miss), its beginnings with other tails (hits), and some after others' traffic.

    The exact repeat and the continued answer are among the hits: there, nothing but the last token may be left to
    compute.
    """
    depth = prompts.bench.depth
    base = prompts.ids(PREFIX_TOKENS[depth])
    return Move((Ask(prompts.given("cuts", base, TOKENS)),), partial(_hits, prompts, base))


def _hits(prompts: Prompts, base: tuple[int, ...], answers: Sequence[Answer]) -> Move:
    depth = prompts.bench.depth
    places = positions(len(base), BLOCKS[depth], prompts.draws)
    said = answers[0].choices[0].ids if answers[0].choices else ()
    asks = [_continued(prompts, "cuts", base, place) for place in places]
    asks += [Ask(prompts.given("cuts", ids, TOKENS)) for ids in (base, base[:-1], (*base, *said))]
    return Move(tuple(asks), partial(_strangers, prompts, base) if depth == "full" else None)


def _strangers(prompts: Prompts, base: tuple[int, ...], _: Sequence[Answer]) -> Move:
    streams = prompts.bench.target.limits.concurrency
    others = [Ask(prompts.given("evicted", prompts.ids(len(base)), 1)) for _ in range(STRANGERS * streams)]
    return Move(tuple(others), partial(_forgotten, prompts, base), streams)


def _forgotten(prompts: Prompts, base: tuple[int, ...], _: Sequence[Answer]) -> Move:
    places = prompts.draws.sample(range(1, len(base) + 1), min(AFTER_EVICTION, len(base)))
    return Move(tuple(_continued(prompts, "evicted", base, place) for place in places))


def _continued(prompts: Prompts, kind: str, base: tuple[int, ...], place: int) -> Ask:
    tail = prompts.tail(prompts.draws.randint(1, LONGEST_TAIL))
    return Ask(prompts.given(kind, (*base[:place], *tail), TOKENS))
