"""Where a long prompt is cut, and what follows it."""

from __future__ import annotations

import random
from collections.abc import Callable

from engine import Bound
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.judge.cuts import BLOCKS, cuts, positions
from pytest_vibeserve.judge.relations import Prompts


@given(length=st.integers(1, 200), block=st.sampled_from([16, 32, 64]), number=st.integers())
def test_every_residue_that_a_prompt_has_is_cut_once(length: int, block: int, number: int) -> None:
    found = positions(length, block, random.Random(number))
    assert all(1 <= place <= length for place in found)
    assert sorted(place % block for place in found) == sorted({place % block for place in range(1, length + 1)})


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
