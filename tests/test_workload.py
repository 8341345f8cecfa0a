"""Requests nobody has seen: fresh for each purpose, the same again from the revealed seed, within the target's mix."""

from __future__ import annotations

import hashlib
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Secret, Vocabulary, Workload, samplings

COUNT = 300


def drawn(target: Target, vocabulary: Vocabulary, seed: str = "a seed", purpose: str = "load") -> list[Request]:
    return list(islice(Workload(target, vocabulary, Secret(seed).stream(purpose)).requests(), COUNT))


@pytest.fixture(scope="module")
def requests(tiny: Target, vocabulary: Vocabulary) -> list[Request]:
    return drawn(tiny, vocabulary)


def test_the_revealed_seed_gives_the_same_requests_again(
    requests: list[Request], tiny: Target, vocabulary: Vocabulary
) -> None:
    assert drawn(tiny, vocabulary) == requests


def test_another_seed_or_purpose_shares_no_prompt(
    requests: list[Request], tiny: Target, vocabulary: Vocabulary
) -> None:
    prompts = {request.prompt_ids for request in requests}
    assert len(prompts) == COUNT
    assert prompts.isdisjoint(request.prompt_ids for request in drawn(tiny, vocabulary, seed="another"))
    assert prompts.isdisjoint(request.prompt_ids for request in drawn(tiny, vocabulary, purpose="audit"))


def test_every_gate_draws_a_seed_of_its_own() -> None:
    assert len({Secret().value for _ in range(50)}) == 50


@given(st.text(min_size=1))
def test_the_commitment_is_the_sha256_of_what_is_revealed(seed: str) -> None:
    assert Secret(seed).commitment == hashlib.sha256(seed.encode()).hexdigest()


def test_lengths_stay_within_the_mix_and_the_context(requests: list[Request], tiny: Target) -> None:
    outputs = [mix.output_tokens for mix in tiny.mix]
    longest_prompt = max(mix.prompt_tokens[1] for mix in tiny.mix)
    for request in requests:
        assert any(low <= request.max_tokens <= high for low, high in outputs)
        assert len(request.prompt_ids) <= longest_prompt
        assert len(request.prompt_ids) + request.max_tokens <= tiny.limits.context


def test_prompts_are_about_as_long_as_the_mix_says(requests: list[Request], tiny: Target) -> None:
    total = sum(mix.weight for mix in tiny.mix)
    wanted = sum(mix.weight * sum(mix.prompt_tokens) / 2 for mix in tiny.mix) / total
    assert 0.6 * wanted < sum(len(request.prompt_ids) for request in requests) / COUNT < 1.2 * wanted


def test_about_half_of_the_prompts_are_text_that_encodes_to_their_ids(
    requests: list[Request], vocabulary: Vocabulary
) -> None:
    spelt = [request for request in requests if request.prompt_text]
    assert 0.3 * COUNT < len(spelt) < 0.7 * COUNT
    assert all(vocabulary.encode(request.prompt_text) == request.prompt_ids for request in spelt)
    assert not any("\ufffd" in request.prompt_text for request in spelt)


def test_every_prompt_begins_as_the_tokenizer_begins_one(requests: list[Request], vocabulary: Vocabulary) -> None:
    assert vocabulary.prefix == (0,)
    assert all(request.prompt_ids[:1] == vocabulary.prefix for request in requests)
    assert all(set(request.prompt_ids[1:]) <= set(range(vocabulary.size)) for request in requests)


def test_every_run_of_requests_mixes_all_flags_in_the_stated_shares(requests: list[Request]) -> None:
    assert COUNT / 4 < sum(request.logprobs is not None for request in requests) <= COUNT / 3
    assert sum(not request.stream for request in requests) == COUNT / 4
    assert abs(sum(request.temperature > 0 for request in requests) - COUNT / 8) < 1
    assert 0.6 * COUNT < sum(request.ignore_eos for request in requests) < 0.9 * COUNT
    assert 0.3 * COUNT < sum(request.include_usage for request in requests) < 0.7 * COUNT


def test_some_requests_resemble_earlier_ones(requests: list[Request]) -> None:
    kinds = [request.kind for request in requests]
    assert COUNT / 10 < COUNT - kinds.count("fresh") <= COUNT / 8 + 1
    earlier = [request.prompt_ids for request in requests]
    for index, request in enumerate(requests):
        if request.kind == "twin":
            assert any(_differences(request.prompt_ids, prompt) == 1 for prompt in earlier[:index])


def _differences(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True)) if len(one) == len(other) else -1


def test_numbers_of_requests_go_on_from_the_first(tiny: Target, vocabulary: Vocabulary) -> None:
    supply = Workload(tiny, vocabulary, Secret("x").stream("y")).requests(first_id=40)
    assert [request.id for request in islice(supply, 3)] == [40, 41, 42]


def test_special_tokens_are_neither_drawn_nor_shown(vocabulary: Vocabulary) -> None:
    assert {0, 1} <= vocabulary.special
    assert vocabulary.special.isdisjoint(vocabulary.ordinary)
    assert vocabulary.decode([0, 1]) == ""


def test_every_way_of_sampling_comes_in_turn_with_values_of_its_own() -> None:
    ways = list(islice(samplings(random.Random(4)), 50))
    kinds = [(temperature < 0.65, top_p < 1, top_k > 0) for temperature, top_p, top_k in ways if temperature != 1.0]
    assert len(set(ways)) > 35
    assert {(False, True, False), (False, False, True), (False, True, True), (True, False, False)} <= set(kinds)
    assert ways.count((1.0, 1.0, 0)) == 10


SHAPE = """
from dataclasses import replace

def shaped(requests, workload):
    return [replace(one, max_tokens=1 + workload.draws.randrange(2), prediction="as before") for one in requests]
"""


def test_a_target_shapes_what_is_asked_in_a_file_of_its_own(
    tiny: Target, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    (tmp_path / "workload.py").write_text(SHAPE)
    own = tiny.model_copy(update={"folder": tmp_path})
    plain, shaped = (Workload(target, vocabulary, random.Random(3)).take(20) for target in (tiny, own))
    assert [one.prompt_ids for one in shaped] == [one.prompt_ids for one in plain]
    assert {one.max_tokens for one in shaped} == {1, 2}
    assert {one.prediction for one in shaped} == {"as before"}


def test_a_file_that_shapes_nothing_is_answered_with_what_it_should_hold(
    tiny: Target, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    (tmp_path / "workload.py").write_text("")
    own = tiny.model_copy(update={"folder": tmp_path})
    with pytest.raises(UsageError, match="no function shaped"):
        Workload(own, vocabulary, random.Random(3)).take(2)


WRONG = {
    "raises": ("1 / 0", r"workload\.py:4: ZeroDivisionError: division by zero; mend it there"),
    "stumbles over its own doubt": ("[one for one in requests if own_doubt()]", r"workload\.py:4: NameError"),
    "returns nothing": ("None", "shaped gave None: return a list of requests"),
    "returns fewer": ("requests[1:]", "shaped gave 19 requests for 20: return as many, in their order"),
    "numbers them anew": ("[replace(one, id=0) for one in requests]", "with the ids they had"),
    "asks nothing": ("[replace(one, prompt_ids=()) for one in requests]", "gave a prompt of 0 ids: give at least one"),
    "makes words up": ("[replace(one, prompt_ids=(10**6,)) for one in requests]", "each from 0 to 511"),
    "asks for no answer": ("[replace(one, max_tokens=0) for one in requests]", "asks for 0 tokens after"),
    "asks for too much": (
        "[replace(one, prompt_ids=one.prompt_ids[:1] * 2000) for one in requests]", "within limits.context = 1024"
    ),
    "spells another prompt": ("[replace(one, prompt_text='hello') for one in requests]", "those of prompt_text 'hello"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_shape_that_cannot_be_judged_is_the_users_to_mend(
    wrong: str, tiny: Target, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    given, told = WRONG[wrong]
    program = f"from dataclasses import replace\n\ndef shaped(requests, workload):\n    return {given}\n"
    (tmp_path / "workload.py").write_text(program)
    own = tiny.model_copy(update={"folder": tmp_path})
    with pytest.raises(UsageError, match=told) as raised:
        Workload(own, vocabulary, random.Random(3)).take(20)
    assert str(raised.value).startswith(str(tmp_path / "workload.py"))
    assert "\n" not in str(raised.value)
