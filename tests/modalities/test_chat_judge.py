"""Honest chat servers are accepted; each way of not running the model is refused by the check that is about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from wired import judged, refused_by

from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

SERVER = "chat_server.py"


@pytest.mark.parametrize("kind", ["honest", "float32", "eager", "jump-forward"])
def test_an_honest_server_passes_the_audit(
    chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, chat_model, kind, chat_target, chat_vocabulary) as (bench, judge):
        judge.audit()
    assert {"json.valid", "audit.request", "audit.margin"} <= {check.name for check in bench.checks}
    assert {check.result for check in bench.checks} == {"pass"}


def test_an_honest_server_keeps_the_interface_and_computes_repeats_again(
    chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary
) -> None:
    with judged(SERVER, chat_model, "honest", chat_target, chat_vocabulary) as (bench, judge):
        judge.interface()
        judge.repeats()
        judge.sampled()
    names = {check.name for check in bench.checks}
    assert {"interface.json-schema", "interface.prediction", "interface.turns", "repeats.computed"} <= names
    assert {"interface.json-draws", "repeats.documents"} <= names
    assert not bench.failed()


@pytest.mark.parametrize("kind", ["honest silent", "plain-jumps silent"])
def test_an_honest_server_without_token_ids_is_followed_along_its_text(
    chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, chat_model, kind, chat_target, chat_vocabulary) as (bench, judge):
        judge.audit()
    assert {"json.valid", "audit.request", "audit.margin", "audit.retokenised"} <= {one.name for one in bench.checks}
    assert {check.result for check in bench.checks} == {"pass"}


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("filled silent", "audit.request"),
        ("filled half-silent", "audit.token-ids"),
        ("echo silent", "json.valid audit.request"),
        ("filled", "audit.request"),
        ("sentinel", "audit.request"),
        ("by-schema", "audit.request"),
        ("by-words", "json.valid audit.request"),
        ("echo", "json.valid audit.request"),
        ("unconstrained", "json.valid"),
        ("by-shape", "json.valid json.grammar audit.request"),
        pytest.param("by-fields", "json.grammar", marks=pytest.mark.slow),
        ("no-system", "audit.prompt-ids"),
    ],
)
def test_a_server_that_does_not_ask_the_model_is_refused(
    chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary, kind: str, check: str
) -> None:
    with judged(SERVER, chat_model, kind, chat_target, chat_vocabulary) as (bench, judge):
        assert refused_by(bench, judge.audit) & set(check.split())


@pytest.mark.slow
def test_documents_are_not_stored(chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary) -> None:
    with judged(SERVER, chat_model, "stored", chat_target, chat_vocabulary) as (bench, judge):
        assert refused_by(bench, judge.repeats) == {"repeats.documents"}


@pytest.mark.slow
def test_documents_are_drawn(chat_model: Path, chat_target: Target, chat_vocabulary: Vocabulary) -> None:
    with judged(SERVER, chat_model, "likeliest", chat_target, chat_vocabulary) as (bench, judge):
        assert "interface.json-draws" in refused_by(bench, judge.interface)
