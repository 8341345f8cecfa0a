"""Where a long prompt is cut, and what follows it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from engine import Bound
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.judge.cuts import AFTER_EVICTION, BEYOND, BLOCKS, around, cuts, positions
from pytest_vibeserve.judge.relations import Move, Prompts


@given(length=st.integers(1, 200), block=st.sampled_from([16, 32, 64]), number=st.integers())
def test_every_residue_that_a_prompt_has_is_cut_once(length: int, block: int, number: int) -> None:
    found = positions(length, block, random.Random(number))
    assert all(1 <= place <= length for place in found)
    assert sorted(place % block for place in found) == sorted({place % block for place in range(1, length + 1)})


@given(length=st.integers(64, 40_000), number=st.integers())
def test_the_ends_of_every_larger_block_are_cut_and_something_beside_them(length: int, number: int) -> None:
    found = around(length, 16, random.Random(number))
    assert all(1 <= place <= length for place in found)
    sizes = [2**power for power in range(5, 16) if 2 ** (power + 1) <= length]
    assert all(any(place % size == 0 for place in found) for size in sizes)
    assert len(sizes) <= len(found) <= 2 * len(sizes)


def test_a_shared_beginning_is_cut_along_its_whole_length_and_again_after_others(bound: Callable[[int], Bound]) -> None:
    engine = bound(1).engine
    engine.target = engine.target.model_copy(
        update={
            "mix": (engine.target.mix[0].model_copy(update={"shared_tokens": 80}),),
            "limits": engine.target.limits.model_copy(update={"concurrency": 3}),
        }
    )
    moves: list[Move] = []
    move: Move | None = cuts(Prompts(engine, engine.draws("cuts")))
    while move is not None:
        moves.append(move)
        answers = engine.ask([replace(ask.request, id=index) for index, ask in enumerate(move.asks)])
        move = move.then(answers) if move.then else None
    first, hits, strangers, after = ([ask.request.prompt_ids for ask in move.asks] for move in moves)
    base = first[0]
    assert len(base) == 80 + BEYOND
    cut = [next((at for at, (a, b) in enumerate(zip(base, hit, strict=False)) if a != b), len(hit)) for hit in hits]
    assert any(place > 64 for place in cut)
    parted = [[a != b for a, b in zip(base, hit, strict=True)] for hit in hits if len(hit) == len(base) and hit != base]
    assert any(sum(one) == 1 and any(one[-BEYOND:]) for one in parted)
    assert any(sum(one) > 1 for one in parted)
    assert len(strangers) == 3
    assert not {hit[:8] for hit in strangers} & {base[:8]}
    assert len(after) == AFTER_EVICTION["quick"]
    assert all(hit[:1] == base[:1] for hit in after)


def test_prompts_that_share_a_beginning_follow_the_first_sight_of_it(bound: Callable[[int], Bound]) -> None:
    engine = bound(0).engine
    first = cuts(Prompts(engine, engine.draws("cuts")))
    base = first.asks[0].request.prompt_ids
    answers = engine.ask([first.asks[0].request])
    assert first.then is not None
    following = first.then(answers)
    assert following is not None
    prompts = [ask.request.prompt_ids for ask in following.asks]
    assert len(prompts) == BLOCKS["quick"] + 3
    assert {base, base[:-1], base + answers[0].choices[0].ids} <= set(prompts)
    assert all(prompt[0] == base[0] for prompt in prompts)
