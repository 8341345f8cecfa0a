"""Every property of the interface: an honest server keeps them all, each broken one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine import Body, Bound, Engine, running
from hypothesis import strategies as st

from pytest_vibeserve.bench import Bench, Contract
from pytest_vibeserve.judge import Judge
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.conversation import Conversation
from pytest_vibeserve.judge.interface import EXAMPLES, searched
from pytest_vibeserve.judge.properties import PROPERTIES
from pytest_vibeserve.judge.refusals import REFUSALS
from pytest_vibeserve.modalities import wire_of
from pytest_vibeserve.modalities.text import TextWire
from pytest_vibeserve.report import Check
from pytest_vibeserve.server import ExternalServer
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Secret, Vocabulary

Bind = Callable[[int], Bound]
END_IDS = frozenset({1})


def test_a_server_in_the_same_process_keeps_every_property(bound: Bind) -> None:
    server = bound(0)
    server.judge.interface()
    assert {check.result for check in server.engine.checks} == {"pass"}


@pytest.fixture(scope="module")
def address(root: Path, auditor: Auditor) -> Iterator[str]:
    """The address of the target's own starter, running."""
    with running(root / "targets" / "tiny_llama" / "starter", auditor.reference.folder) as address:
        yield address


def test_the_starter_over_http_is_judged_honest(
    address: str, tiny: Target, vocabulary: Vocabulary, auditor: Auditor
) -> None:
    checks: list[Check] = []
    model = auditor.reference.folder
    with ExternalServer(address) as server:
        bench = Bench(
            Contract(tiny, model, vocabulary, Secret(), TextWire(tiny, vocabulary), "quick", 1e12, wire_of),
            server,
            checks.append,
        )
        try:
            Judge(bench, model).interface()
        finally:
            bench.close()
    assert {check.result for check in checks} == {"pass"}


def _without(body: Body, name: str) -> Body:
    return {key: value for key, value in body.items() if key != name}


def _copied(body: Body, said: Body) -> Body:
    first = said["choices"][0]
    copied = [first | {"index": choice["index"]} for choice in said["choices"]]
    return said | {"choices": copied if body["n"] > 1 else said["choices"], "usage": None}


def _broken_characters(body: Body, said: Body) -> Body:
    if body["temperature"] == 2.0:
        said["choices"][0]["text"] = "\ufffd" * len(said["choices"][0]["token_ids"])
    return said


ASKED: dict[str, Callable[[Body], Body]] = {
    "max-tokens": lambda body: body | {"max_tokens": max(2, body["max_tokens"])},
    "answer-length": lambda body: body | {"max_tokens": min(24, body["max_tokens"])},
    "stop": lambda body: _without(body, "stop"),
    "seed": lambda body: _without(body, "seed"),
    "logit-bias": lambda body: _without(body, "logit_bias"),
    "end-token": lambda body: body | {"ignore_eos": True},
    "logprobs": lambda body: body | ({"logprobs": 2} if "logprobs" in body else {}),
    "tokenisation": lambda body: body | (
        {"prompt": body["prompt"].replace("<s>", "[s]")} if isinstance(body["prompt"], str) else {}
    ),
}  # fmt: skip
SERVED: dict[str, Callable[[Body, Body], Body]] = {
    "n": _copied,
    "unicode": _broken_characters,
}


@pytest.mark.parametrize("name", ASKED)
def test_a_field_that_is_ignored_is_found(bound: Bind, auditor: Auditor, name: str) -> None:
    engine = bound(20).engine
    engine.depth = "full"
    engine.faults.asked = ASKED[name]
    assert _searched(engine, auditor, name).result == "fail"


def test_a_stop_string_is_asked_for_although_the_model_spells_no_whole_character(
    bound: Bind, auditor: Auditor, vocabulary: Vocabulary
) -> None:
    engine = bound(24).engine
    broken = next(token for token in vocabulary.ordinary if token not in vocabulary.spelt)

    def unstopped(body: Body) -> Body:
        return {"logit_bias": {str(broken): 100.0}} | _without(body, "stop")

    engine.faults.asked = unstopped
    assert _searched(engine, auditor, "stop").result == "fail"


@pytest.mark.parametrize("name", SERVED)
def test_an_answer_that_breaks_its_word_is_found(bound: Bind, auditor: Auditor, name: str) -> None:
    engine = bound(21).engine
    engine.faults.served = SERVED[name]
    found = _searched(engine, auditor, name)
    assert found.result == "fail"
    assert found.example.startswith("prompt ")


def test_choices_that_a_seed_makes_copies_are_found(bound: Bind, auditor: Auditor) -> None:
    engine = bound(25).engine
    engine.faults.served = lambda body, said: _copied(body, said) if "seed" in body else said
    assert _searched(engine, auditor, "n").result == "fail"


def test_prompts_answered_in_another_order_are_found_by_the_audit(bound: Bind, auditor: Auditor) -> None:
    engine = bound(22).engine

    def swapped(body: Body, said: Body) -> Body:
        last = len(said["choices"]) - 1
        return said | {"choices": [choice | {"index": last - choice["index"]} for choice in said["choices"]]}

    engine.faults.served = swapped
    talk = Conversation(engine, auditor, END_IDS)
    assert searched("prompts", [(talk, PROPERTIES["prompts"])]).result == "pass"
    assert auditor.single(auditor.gathered(talk.heard, noise=False), "interface").result == "fail"


def test_requests_that_are_not_refused_are_found(bound: Bind, auditor: Auditor) -> None:
    engine = bound(23).engine
    engine.faults.refuse = False
    found = _searched(engine, auditor, "errors")
    assert found.result == "fail"
    assert "not a 4xx" in found.detail
    assert "status 500" in found.example


def _searched(engine: Engine, auditor: Auditor, name: str) -> Check:
    return searched(name, [(Conversation(engine, auditor, END_IDS), {**PROPERTIES, **REFUSALS}[name])])


def test_properties_are_searched_to_their_end_though_answers_differ_from_time_to_time(bound: Bind) -> None:
    server = bound(3)
    talk = Conversation(server.engine, server.judge.auditor, server.judge.end_ids)
    server.engine.depth = "full"
    tried = []

    def hanging_on_answers(talk: Conversation) -> None:
        """What is drawn hangs on what was answered before."""
        tried.append(talk)
        talk.draw(st.booleans())
        talk.draw(st.integers(0, 3) if len(tried) % 2 else st.integers(5, 9))

    assert searched("hanging", ((talk, hanging_on_answers),)).result == "pass"
    assert len(tried) >= EXAMPLES["full"]
