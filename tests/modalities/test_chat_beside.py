"""A text target that has chats too is asked everything on both routes, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from wired import Wired, served

from pytest_vibeserve.errors import ContractBroken
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.crowd import MOVES
from pytest_vibeserve.judge.relations import SECRET_BITS
from pytest_vibeserve.modalities import text_judge
from pytest_vibeserve.modalities.chat.beside import ChatPrompts, JudgeOfBoth
from pytest_vibeserve.modalities.chat.wire import ChatRequest
from pytest_vibeserve.reference import Reference, model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Vocabulary


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target("llama_3_8b", "tiny")


@pytest.fixture(scope="module")
def model(target: Target) -> Path:
    return model_folder(target)


@pytest.fixture(scope="module")
def auditor(target: Target, model: Path) -> Auditor:
    return Auditor.of(Reference(model, target), Vocabulary(model), target, "quick")


@contextmanager
def judging(kind: str, target: Target, model: Path, auditor: Auditor) -> Iterator[tuple[Wired, JudgeOfBoth]]:
    """A member of the target's zoo (`honest` is its starter), with its bench and its Judge."""
    with (
        served(target.name, model, kind) as port,
        Wired(target, Vocabulary(model), port, (target.name, kind)) as bench,
    ):
        judge = text_judge(bench, model, lambda: auditor)
        assert isinstance(judge, JudgeOfBoth)
        yield bench, judge


def test_the_starter_keeps_its_word_on_both_routes(target: Target, model: Path, auditor: Auditor) -> None:
    with judging("honest", target, model, auditor) as (bench, judge):
        judge.interface()
        judge.sessions()
    names = {check.name for check in bench.checks}
    assert {"interface.stop", "interface.turns", "interface.context-limit", "sessions.secrets"} <= names
    assert not bench.failed()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param("chats_unstopped", "interface.stop", marks=pytest.mark.slow),
        pytest.param("chats_copied", "interface.n", marks=pytest.mark.slow),
        pytest.param("chats_unbiased", "interface.logit-bias", marks=pytest.mark.slow),
        pytest.param("chats_ended", "interface.end-token", marks=pytest.mark.slow),
        pytest.param("chats_overrun", "interface.context-limit", marks=pytest.mark.slow),
        ("chats_refused_in_words", "interface.errors"),
    ],
)
def test_what_is_ignored_for_chats_alone_is_found(
    kind: str, check: str, target: Target, model: Path, auditor: Auditor
) -> None:
    with judging(kind, target, model, auditor) as (bench, judge), suppress(ContractBroken):
        judge.interface()
    broken = {one.name: one for one in bench.checks if one.result == "fail"}
    assert check in broken
    assert "chats: " in broken[check].detail


def test_every_relation_can_be_asked_by_chat_and_fits_into_the_context(
    target: Target, model: Path, auditor: Auditor
) -> None:
    vocabulary = Vocabulary(model)
    bench = Wired(target, vocabulary, 9, ("none", "none"))
    judge = text_judge(bench, model, lambda: auditor)
    assert isinstance(judge, JudgeOfBoth)
    draws = bench.draws("relations")
    prompts = ChatPrompts(bench, draws, judge.chats.wire.workload(draws))
    for name, move in MOVES.items():
        for ask in move(prompts).asks:
            assert isinstance(ask.request, ChatRequest), name
            assert 0 < len(ask.request.prompt_ids) <= target.limits.context - ask.request.max_tokens
            if ask.secret:
                assert len(set(ask.secret)) == len(ask.secret)
                assert set(ask.secret) <= set(ask.request.prompt_ids)
                assert len(vocabulary.ordinary) ** len(ask.secret) > 2 ** (SECRET_BITS // 2)
