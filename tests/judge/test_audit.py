"""Honest arithmetic is accepted, forbidden arithmetic refused, each under its own name."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import pytest
import torch
from engine import HONEST, Body, Bound

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge import FIRST_LOOK, ContractBroken
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.probes import fresh
from pytest_vibeserve.variants import Variant, honest
from pytest_vibeserve.workload import Request, Vocabulary

Bind = Callable[[int], Bound]


@pytest.mark.parametrize("variant", [*honest("bfloat16"), Variant("exact")], ids=lambda variant: variant.name)
def test_honest_answers_are_accepted(bound: Bind, variant: Variant) -> None:
    server = bound(0)
    server.engine.faults.variant = lambda body: variant
    server.judge.audit()
    assert {check.result for check in server.engine.checks} == {"pass"}


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_what_is_gross_is_refused_after_a_handful_of_answers(bound: Bind, depth: Literal["quick", "full"]) -> None:
    server, asked = bound(0), list[Body]()
    server.engine.depth = depth
    server.engine.faults.variant = lambda body: Variant("layer left out", skipped=1)
    server.engine.faults.asked = lambda body: (asked.append(body), body)[1]
    with pytest.raises(ContractBroken, match="layer 1 left out explains"):
        server.judge.audit()
    assert server.failed() == {"audit.request"}
    assert len(asked) == FIRST_LOOK


@pytest.mark.parametrize("seed", range(2))
def test_answers_of_cached_decoding_by_transformers_are_accepted(bound: Bind, auditor: Auditor, seed: int) -> None:
    engine = bound(seed).engine
    requests = fresh(engine, random.Random(seed), 16, "load")
    answers = [_generated(auditor, engine.vocabulary, request) for request in requests]
    checks = auditor.checks(auditor.gathered(answers))
    assert "fail" not in {check.result for check in checks}


@pytest.mark.parametrize(
    ("variant", "check"),
    [
        (Variant("layer left out", skipped=1), "audit.request"),
        (Variant("rotary base", rope=0.5), "audit.request"),
        (Variant("off by one", shift=1), "audit.request"),
        (Variant("fp8", "bfloat16", weights="fp8"), "audit.request"),
        (Variant("int8 per channel", "bfloat16", weights="int8 per channel"), "audit.signature"),
        (Variant("int8 in groups of 32", "bfloat16", weights="int8 in groups of 32"), "audit.signature"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_forbidden_arithmetic_is_refused(bound: Bind, variant: Variant, check: str) -> None:
    server = bound(1)
    server.engine.faults.variant = lambda body: variant
    with pytest.raises(ContractBroken):
        server.judge.audit()
    assert server.failed() & {check, "audit.margin", "audit.logprobs"}
    assert check == "audit.signature" or check in server.failed()


def test_a_signature_names_the_transformation(bound: Bind) -> None:
    server = bound(2)
    server.engine.faults.variant = lambda body: Variant("q", "bfloat16", weights="int8 in groups of 32")
    with pytest.raises(ContractBroken, match="int8 in groups of 32"):
        server.judge.audit()


def test_a_rounded_output_matrix_alone_is_named(bound: Bind) -> None:
    server = bound(2)
    server.engine.depth = "full"
    server.engine.faults.variant = lambda body: Variant("q", "bfloat16", weights="int8 per channel", head=True)
    with pytest.raises(ContractBroken, match="int8 per channel in the output matrix"):
        server.judge.audit()


def test_a_layer_that_is_left_out_is_named(bound: Bind) -> None:
    server = bound(2)
    server.engine.faults.variant = lambda body: Variant("short cut", "bfloat16", skipped=1)
    with pytest.raises(ContractBroken, match="layer 1 left out explains"):
        server.judge.audit()


def test_one_wrong_token_in_fifty_is_refused_with_its_example(bound: Bind) -> None:
    server = bound(3)
    server.engine.faults.choose = lambda token, draws: draws.randrange(2, 512) if draws.random() < 0.02 else token
    with pytest.raises(ContractBroken, match=r"audit\.request: .* logits above it"):
        server.judge.audit()


def test_care_only_where_logprobs_are_asked_for_is_refused(bound: Bind) -> None:
    server = bound(4)
    careless = Variant("fp8", "bfloat16", weights="fp8")
    server.engine.faults.variant = lambda body: HONEST if "logprobs" in body else careless
    with pytest.raises(ContractBroken):
        server.judge.audit()
    assert server.failed() & {"audit.request", "audit.groups", "audit.margin"}


def test_answers_for_another_prompt_are_refused(bound: Bind) -> None:
    server = bound(5)

    def without_middle(body: Body) -> Body:
        prompt = body["prompt"]
        return body | {"prompt": [*prompt[:4], 7, *prompt[5:]] if isinstance(prompt, list) else "the " + prompt}

    server.engine.faults.asked = without_middle
    with pytest.raises(ContractBroken, match=r"audit\.(prompt-ids|request)"):
        server.judge.audit()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda body, said: said | {"usage": {"prompt_tokens": 1, "completion_tokens": 9}}, "audit.usage"),
        (lambda body, said: _each(said, text="something else"), "audit.text"),
        (lambda body, said: _each(said, finish_reason="eos"), "audit.finish-reason"),
        (lambda body, said: _each(said, prompt_token_ids=[3]), "audit.prompt-ids"),
        (
            lambda body, said: said | {"choices": [*said["choices"], said["choices"][0] | {"index": 1}]},
            "audit.answered",
        ),
        (lambda body, said: {"choices": "none"}, "audit.answered"),
    ],
    ids=["usage", "text", "finish-reason", "prompt-ids", "more choices", "no choices"],
)
def test_parts_that_disagree_are_refused(bound: Bind, change: Callable[[Body, Body], Body], check: str) -> None:
    server = bound(6)
    server.engine.faults.served = change
    with pytest.raises(ContractBroken):
        server.judge.audit()
    assert check in server.failed()


def test_answers_cut_short_are_refused(bound: Bind) -> None:
    server = bound(7)
    server.engine.faults.asked = lambda body: body | {"max_tokens": body["max_tokens"] - 1}
    with pytest.raises(ContractBroken, match=r"audit\.max-tokens"):
        server.judge.audit()


def test_logprobs_of_another_temperature_are_refused(bound: Bind) -> None:
    server = bound(8)

    def flattened(body: Body, said: Body) -> Body:
        for choice in said["choices"]:
            if "logprobs" in choice:
                parts = choice["logprobs"]
                parts["token_logprobs"] = [value * 1.1 for value in parts["token_logprobs"]]
                parts["top_logprobs"] = [{k: v * 1.1 for k, v in top.items()} for top in parts["top_logprobs"]]
        return said

    server.engine.faults.served = flattened
    with pytest.raises(ContractBroken, match=r"audit\.logprobs"):
        server.judge.audit()


def test_measured_answers_are_examined_one_by_one(bound: Bind) -> None:
    server = bound(9)
    requests = fresh(server.engine, random.Random(1), 60, "load")
    answers = server.engine.ask([replace(request, id=index) for index, request in enumerate(requests)], 16)
    checks = server.judge.examine(answers)
    assert {check.result for check in checks} <= {"pass", "skip"}
    with pytest.raises(ContractBroken, match=r"load\.request: 1 of"):
        server.judge.examine([*answers[:-1], _spoilt(answers[-1], server.engine.vocabulary)])


def without_ids(body: Body) -> Body:
    return {key: value for key, value in body.items() if key != "return_token_ids"}


@pytest.mark.parametrize("seed", range(3))
def test_servers_without_ids_are_audited_along_their_text(bound: Bind, seed: int) -> None:
    server = bound(10 + seed)
    server.engine.faults.asked = without_ids
    server.judge.audit()
    assert {"audit.retokenised", "audit.margin"} <= {check.name for check in server.engine.checks}


def test_a_text_that_the_model_would_not_have_said_is_refused_without_ids(bound: Bind) -> None:
    server = bound(10)
    server.engine.faults.asked = without_ids
    server.engine.faults.choose = lambda token, draws: draws.randrange(64, 200) if draws.random() < 0.2 else token
    with pytest.raises(ContractBroken, match=r"audit\.request"):
        server.judge.audit()


def test_forbidden_arithmetic_does_not_hide_behind_missing_ids(bound: Bind) -> None:
    server = bound(10)
    server.engine.faults.asked = without_ids
    server.engine.faults.variant = lambda body: Variant("fp8", "bfloat16", weights="fp8")
    with pytest.raises(ContractBroken, match=r"audit\."):
        server.judge.audit()


def test_ids_that_some_answers_lack_are_missing(bound: Bind) -> None:
    server = bound(10)
    server.engine.faults.asked = lambda body: body if body.get("logprobs") is not None else without_ids(body)
    with pytest.raises(ContractBroken, match=r"audit\.token-ids"):
        server.judge.audit()


def _each(said: Body, **fields: object) -> Body:
    return said | {"choices": [choice | fields for choice in said["choices"]]}


def _generated(auditor: Auditor, vocabulary: Vocabulary, request: Request) -> Answer:
    given = torch.tensor([request.prompt_ids])
    model = auditor.reference.model("bfloat16", "sdpa")
    with torch.inference_mode():
        whole = model.generate(
            given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=request.max_tokens,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
    ids = tuple(whole[0, given.shape[1] :].tolist())
    return Answer(request, 200, "", (Choice(0, ids, vocabulary.decode(ids), "length"),))


def _spoilt(answer: Answer, vocabulary: Vocabulary) -> Answer:
    ids: Sequence[int] = answer.choices[0].ids
    changed = (*ids[:5], (ids[5] + 100) % 500 + 2, *ids[6:])
    choice = replace(answer.choices[0], ids=changed, text=vocabulary.decode(changed), logprobs=())
    return replace(answer, request=replace(answer.request, logprobs=None), choices=(choice,))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.5])
def test_reported_logprobs_are_the_models_own_whatever_the_temperature(
    bound: Bind, auditor: Auditor, temperature: float
) -> None:
    engine = bound(4).engine
    given = [replace(one, logprobs=5, temperature=temperature) for one in fresh(engine, random.Random(4), 6, "load")]
    answers = engine.ask(given)
    assert [check.result for check in auditor.reported(answers, "sampled")] == ["pass"]
    found = list(auditor.reported([_sharpened(answer) for answer in answers], "sampled"))
    assert [check.result for check in found] == ["fail"]
    assert "by the model" in found[0].example
    assert list(auditor.reported([replace(answers[0], request=replace(given[0], logprobs=None))], "sampled")) == []


def _sharpened(answer: Answer) -> Answer:
    """The answer with its logprobs as they would be at half the temperature, but for their sum."""
    choice = answer.choices[0]
    said = tuple(replace(one, top=tuple((token, 2 * value) for token, value in one.top)) for one in choice.logprobs)
    return replace(answer, choices=(replace(choice, logprobs=said),))
