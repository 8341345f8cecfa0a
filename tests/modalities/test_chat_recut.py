"""A constrained answer may be cut into tokens anew after forced text was written; its text must be the model's own."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from wired import judged, refused_by

from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.draws import compare, deviation
from pytest_vibeserve.judge.sampled import IN_PASSING
from pytest_vibeserve.modalities.chat.grammar import Grammar
from pytest_vibeserve.modalities.chat.judge import ChatJudge
from pytest_vibeserve.modalities.chat.recut import RecutAuditor
from pytest_vibeserve.modalities.chat.requests import numbered
from pytest_vibeserve.model_files import end_ids
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Vocabulary

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"enum": ["amber", "azure"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def target() -> Target:
    return load_target("llama_mlx_json", "tiny")


@pytest.fixture(scope="module")
def model(target: Target) -> Path:
    return model_folder(target)


@pytest.mark.slow
def test_an_answer_that_was_cut_anew_is_judged_by_the_choices_that_the_grammar_left(
    target: Target, model: Path
) -> None:
    with judged("llama_mlx_json", model, "cut-anew", target, Vocabulary(model)) as (bench, judge):
        assert isinstance(judge, ChatJudge)
        assert isinstance(judge.auditor, RecutAuditor)
        drawn = judge.wire.workload(bench.draws("cut")).constrained(24)
        answers = judge.chats.ask(numbered([chat for chat in drawn if not chat.temperature]))
        plain = Auditor.gathered(judge.auditor, answers, noise=False)
        assert any(item.worst > judge.auditor.limit for item in plain)
        along = judge.auditor.gathered(answers)
        assert all(item.worst <= judge.auditor.limit for item in along)
        assert all(item.margins.shape == (len(item.choice.ids),) for item in along)
        assert all(item.honest_margins.shape[1:] == item.margins.shape for item in along)
        judge.audit()
    assert not bench.failed()


def test_draws_are_judged_along_a_text_that_was_cut_anew(target: Target, model: Path) -> None:
    with judged("llama_mlx_json", model, "cut-anew", target, Vocabulary(model)) as (bench, judge):
        assert isinstance(judge, ChatJudge)
        chats = numbered(judge.wire.workload(bench.draws("drawn")).constrained(36))
        drawn = judge.chats.ask([replace(chat, temperature=1.0) for chat in chats], 4)
        best = judge.chats.ask([replace(chat, temperature=0.0) for chat in chats], 4)
    reported = Auditor(*(getattr(judge.auditor, field.name) for field in fields(Auditor)))
    # By the reported tokens, some of which hold forced text too, honest draws look less likely than they are.
    assert deviation(compare(reported, drawn, 1)) > 2
    along = compare(judge.auditor, drawn, 1)
    assert abs(deviation(along)) < 4
    assert sum(one.tokens for one in along) < sum(answer.tokens for answer in drawn) / 2
    claimed = [replace(answer, request=replace(answer.request, temperature=1.0)) for answer in best]
    assert deviation(compare(judge.auditor, claimed, 1)) < -IN_PASSING.z, "the best tokens are no draws"


def test_another_value_is_refused_however_it_was_cut(target: Target, model: Path) -> None:
    with judged("llama_mlx_json", model, "another-cut-anew", target, Vocabulary(model)) as (bench, judge):
        assert "audit.request" in refused_by(bench, judge.audit)


def test_a_text_is_gone_through_by_what_is_forced_and_what_is_chosen(model: Path) -> None:
    vocabulary = Vocabulary(model)
    grammar = Grammar(model, sorted(end_ids(model)), vocabulary.size, "compact")
    place = grammar.beginning(SCHEMA)
    assert place.forced() == b'{"colour":"a'
    place.write(place.forced())
    text = b'{"colour":"amber"}'
    leading = [token for token in np.flatnonzero(place.allowed()) if place.leads(int(token), text)]
    assert leading
    assert all(text.startswith(vocabulary.decode([token]).encode(), place.at) for token in leading)
    place.take(int(leading[0]))
    place.write(place.forced())
    assert (place.at, place.whole) == (len(text), True)


def test_a_cut_is_the_tokenizers_own_and_none_within_a_character(model: Path) -> None:
    vocabulary = Vocabulary(model)
    ends = sorted(end_ids(model))
    grammar = Grammar(model, ends, vocabulary.size, "compact")
    ids = grammar.cut(b'{"colour":"amber"}')
    assert ids is not None
    assert grammar.text((*ids, ends[0])) == (b'{"colour":"amber"}', True)
    assert grammar.text(ids) == (b'{"colour":"amber"}', False)
    starts = grammar.starts(ids)
    assert starts[0] == 0
    assert list(np.diff(starts)) == [len(vocabulary.decode([token])) for token in ids[:-1]]
    assert grammar.cut("é".encode()[:1]) is None
