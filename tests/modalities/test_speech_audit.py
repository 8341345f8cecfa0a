"""What transcripts are held against the model by: whose words are compared, and that something is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from told import streamed

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.calibration import Calibration
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.speech.audio import Beginning, Clip
from pytest_vibeserve.modalities.speech.audit import TranscriptAudit, mixed
from pytest_vibeserve.modalities.speech.reference import SpeechReference
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire
from pytest_vibeserve.reference import Context
from pytest_vibeserve.report import Check
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Vocabulary


def said(wire: SpeechWire, request: SpeechRequest, text: str) -> tuple[Answer, Answer]:
    """The same words as the answer to a whole clip, and at the end of a stream."""
    choice = Choice(0, (), text, "stop", retokenised=True)
    stream = streamed(request, (request.clip.seconds + 1, {"type": "final", "text": text}))
    return Answer(request, 200, "", (choice,)), wire.streamed(request, stream)


def test_words_of_streams_are_compared_as_often_as_those_of_clips(wire: SpeechWire, request_: SpeechRequest) -> None:
    whole, stream = said(wire, request_, "a")
    answers = [*[whole] * 40, *[stream] * 8]
    chosen = mixed(answers, random.Random(0))
    assert [answer.is_streamed for answer in chosen[:16]] == [True, False] * 8
    assert len(chosen) == len(answers)
    assert [answer.is_streamed for answer in mixed([whole] * 3, random.Random(0))] == [False] * 3


def test_whose_words_are_compared_is_drawn(wire: SpeechWire, request_: SpeechRequest) -> None:
    answers = [part for index in range(20) for part in said(wire, request_, str(index))]
    orders = {tuple(answer.choices[0].text for answer in mixed(answers, random.Random(seed))) for seed in range(3)}
    assert len(orders) == 3


@pytest.fixture
def transcript_audit(speech_model: Path, speech_target: Target, speech_vocabulary: Vocabulary) -> TranscriptAudit:
    """What answers are held against, by a limit that honest float32 keeps."""
    reference = SpeechReference(speech_model, speech_target)
    calibration = Calibration(sigma=1e-3, ratios={"one": 1.0, "other": 9.0}, allowed="one", nearest="other")
    wire = SpeechWire.of(speech_target, speech_vocabulary, speech_model)
    return TranscriptAudit(wire, reference, Auditor(reference, calibration, (), "quick"), None, frozenset([1]))


def results(checks: Sequence[Check], result: str) -> list[str]:
    return [check.name for check in checks if check.result == result]


def test_where_nothing_can_be_compared_nothing_is_accepted(transcript_audit: TranscriptAudit) -> None:
    request = fresh(transcript_audit)
    answers = [Answer(request, 200, "", prompt_ids=request.prompt_ids)]
    for checks in (
        transcript_audit.own(answers, random.Random(0), "x"),
        transcript_audit.judged(answers, random.Random(0), "x"),
    ):
        assert results(checks, "inconclusive") == ["x.request"]


def test_words_without_ids_are_held_against_the_model(transcript_audit: TranscriptAudit) -> None:
    request = fresh(transcript_audit)
    ids = greedy(transcript_audit.reference, request.clip, request.max_tokens)
    right = Choice(
        0, (), transcript_audit.wire.vocabulary.decode(ids), "stop" if ids[-1] == 1 else "length", retokenised=True
    )
    for text, wrong in ((right.text, []), ("", ["x.request"]), ("hello world", ["x.request"])):
        choice = right if not wrong else replace(right, text=text, finish_reason="stop")
        assert (
            results(transcript_audit.own([Answer(request, 200, "", (choice,))], random.Random(0), "x"), "fail") == wrong
        )


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize(("looks", "result"), [("no further", "pass"), ("ahead", "pass"), ("elsewhere", "fail")])
def test_a_partial_transcript_may_be_of_frames_that_later_audio_cannot_change(
    transcript_audit: TranscriptAudit, looks: str, result: str, with_ids: bool
) -> None:
    request = fresh(transcript_audit)
    sent = request.clip.seconds
    half = Beginning(request.clip.until(sent / 2).samples, request.clip.rate, 0, request.clip.samples)
    spoken = {"no further": half, "ahead": replace(half, settled=True), "elsewhere": request.clip.until(sent / 4)}
    ids = greedy(transcript_audit.reference, spoken[looks], request.max_tokens)
    words = {"text": transcript_audit.wire.vocabulary.decode(ids)} | ({"token_ids": ids} if with_ids else {})
    told = streamed(
        request, (sent + 0.5, {"type": "partial", "audio_s": sent / 2} | words), (sent + 1, {"type": "final"} | words)
    )
    (check,) = transcript_audit.partials([transcript_audit.wire.streamed(request, told)], random.Random(0))
    assert (check.name, check.result) == ("stream.partials", result), check.detail


def fresh(transcript_audit: TranscriptAudit) -> SpeechRequest:
    request = transcript_audit.wire.fresh(random.Random(5), 1)[0]
    assert isinstance(request, SpeechRequest)
    return request


def greedy(reference: SpeechReference, clip: Clip, limit: int) -> list[int]:
    """What the model says of a clip, one token after another."""
    ids: list[int] = []
    while len(ids) < limit and ids[-1:] != [1]:
        context = Context(Conditioned((0,), clip), (*ids, 0))
        ((_, (logits,)),) = reference.walk([context], (REFERENCE,))
        ids.append(int(logits[-1].argmax()))
    return ids
