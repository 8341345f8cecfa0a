"""Honest speech servers are accepted; each way of not hearing the audio is refused by the check that is about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from wired import judged, refused_by

from pytest_vibeserve.modalities import judge_of
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary

pytestmark = pytest.mark.slow

SERVER = "moonshine_streaming"


@pytest.mark.parametrize("kind", ["honest", "float32", "incremental", "settled-only"])
def test_an_honest_server_is_accepted(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary, kind: str
) -> None:
    with judged(SERVER, speech_model, kind, speech_target, speech_vocabulary) as (bench, judge):
        judge.audit()
        judge.interface()
        judge.sampled()
    names = {check.name for check in bench.checks}
    assert {"audit.margin", "audit.wer", "stream.causal", "stream.partials", "interface.errors"} <= names
    assert not bench.failed()


def test_an_honest_server_without_ids_is_judged_by_its_words(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary
) -> None:
    with judged(SERVER, speech_model, "without-ids", speech_target, speech_vocabulary) as (bench, judge):
        judge.audit()
        judge.interface()
        judge.sessions()
    names = {check.name for check in bench.checks}
    assert {"audit.wer", "audit.retokenised", "audit.request", "interface.request", "stream.partials"} <= names
    assert {check.result for check in bench.checks} == {"pass"}


@pytest.mark.parametrize("keeps", [False, True])
def test_without_ids_the_text_of_a_relaunched_server_tells_whose_weights_it_has(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary, keeps: bool
) -> None:
    with judged(SERVER, speech_model, "without-ids", speech_target, speech_vocabulary) as (bench, _):
        bench.depth, bench.keeps = "full", speech_model if keeps else None
        assert refused_by(bench, judge_of(bench, speech_model).canary) == ({"canary.request"} if keeps else set())


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        ("shuffled", {"audit.request"}),
        ("half-rate", {"audit.request", "audit.margin"}),
        ("windowless", {"audit.request", "audit.margin"}),
        ("manifest", {"audit.request"}),
        ("last-words-only", {"audit.request"}),
        ("early-final", {"stream.causal"}),
        ("ahead", {"stream.causal"}),
        ("guessed-partials", {"stream.partials"}),
        ("first-partial-made-up", {"stream.partials"}),
        ("other-words-shown", {"stream.text"}),
        ("partials-without-ids", {"stream.token-ids"}),
        ("no-ids-and-partials-made-up", {"stream.partials"}),
        ("partials-of-a-sliver", {"audit.answered"}),
        ("no-ids-and-streams-made-up", {"audit.wer", "audit.request"}),
        ("one-token-partials", {"stream.whole"}),
        ("coarse-partials", {"stream.partials"}),
        ("encoded-once", {"audit.request", "stream.partials"}),
        ("silence-known", {"stream.partials"}),
        ("layer-left-out-in-a-crowd", {"audit.request", "stream.partials"}),
        ("end-unheard", {"audit.request"}),
        ("every-second-partial", {"stream.partials"}),
    ],
)
def test_a_server_that_does_not_hear_is_refused(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary, kind: str, checks: set[str]
) -> None:
    with judged(SERVER, speech_model, kind, speech_target, speech_vocabulary) as (bench, judge):
        assert refused_by(bench, judge.audit) & checks


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        ("places-never-freed", {"sessions.answered"}),
        ("heard-of-others", {"sessions.request", "stream.partials"}),
        ("falls-at-a-word", {"sessions.answered"}),
    ],
)
def test_a_server_that_does_not_get_over_who_left_is_refused(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary, kind: str, checks: set[str]
) -> None:
    with judged(SERVER, speech_model, kind, speech_target, speech_vocabulary) as (bench, judge):
        assert refused_by(bench, judge.sessions) & checks


def test_stored_transcripts_are_told_by_their_time(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary
) -> None:
    with judged(SERVER, speech_model, "memoised", speech_target, speech_vocabulary) as (bench, judge):
        assert refused_by(bench, judge.repeats) == {"repeats.computed"}


def test_clips_that_are_heard_again_take_their_time_again(
    speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary
) -> None:
    with judged(SERVER, speech_model, "honest", speech_target, speech_vocabulary) as (bench, judge):
        judge.repeats()
    assert [check.result for check in bench.checks] == ["pass"]
