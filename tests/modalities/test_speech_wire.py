"""Clips travel as forms and as streams; what comes back is an Answer with its times, or a fault in words."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from email.parser import BytesParser

import pytest
from told import streamed

from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.modalities.speech.partials import causal
from pytest_vibeserve.modalities.speech.wire import SHORTEST_S, SpeechRequest, SpeechWire
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary


def test_clips_of_every_kind_are_drawn(wire: SpeechWire) -> None:
    drawn = [request for request in wire.fresh(random.Random(0), 10) if isinstance(request, SpeechRequest)]
    assert [request.kind for request in drawn[:5]] == ["plain", "spliced", "shifted", "padded", "noisy"]
    assert [request.id for request in drawn] == list(range(10))
    assert len({request.clip.samples.tobytes() for request in drawn}) == 10


def test_a_form_holds_the_fields_and_the_file(wire: SpeechWire, request_: SpeechRequest) -> None:
    sent = wire.exchange(request_, 5.0)
    form = BytesParser().parsebytes(f"Content-Type: {sent.content_type}\r\n\r\n".encode() + sent.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.get_payload()}
    assert set(parts) == {"response_format", "temperature", "max_tokens", "return_token_ids", "file"}
    assert parts["max_tokens"].get_payload(decode=True) == str(request_.max_tokens).encode()
    assert parts["file"].get_payload(decode=True) == request_.clip.wav


def test_a_transcript_is_an_answer(wire: SpeechWire, request_: SpeechRequest) -> None:
    text = wire.vocabulary.decode([40, 41])

    def answered(said: object) -> tuple[str, bool, tuple[int, ...]]:
        found = wire.answer(request_, Reply(0, 200, "", 0.0, 0.0, ((0.2, json.dumps(said).encode()),), 0.2, ()))
        choice = found.choices[0] if found.choices else None
        return found.fault, bool(choice and choice.retokenised), choice.ids if choice else ()

    assert answered({"text": text, "token_ids": [40, 41], "finish_reason": "length"}) == ("", False, (40, 41))
    assert answered({"text": text})[:2] == ("", True)
    for wrong in ({}, [], {"text": text, "token_ids": [-1]}, {"text": text, "token_ids": 7}):
        assert "not a transcript" in answered(wrong)[0]


def test_a_stream_is_an_answer_with_its_partial_transcripts(wire: SpeechWire, request_: SpeechRequest) -> None:
    chunk, end = request_.chunk_s, request_.clip.seconds
    partial = {"type": "partial", "audio_s": chunk, "text": "a", "token_ids": [40]}
    final = {"type": "final", "audio_s": end, "text": "ab", "token_ids": [40, 41], "finish_reason": "stop"}
    found = wire.streamed(request_, streamed(request_, (1.01 * chunk, partial), (end + 1, final)))
    assert found.fault == ""
    assert found.choices[0].ids == (40, 41)
    assert [event.tokens for event in found.events] == [1, 1]
    assert found.sent_s == chunk
    assert causal([found]).result == "pass"


def test_words_before_their_audio_are_seen(wire: SpeechWire, request_: SpeechRequest) -> None:
    chunk, end = request_.chunk_s, request_.clip.seconds
    early = {"type": "final", "audio_s": end, "text": "ab", "token_ids": [40, 41], "finish_reason": "stop"}
    found = causal([wire.streamed(request_, streamed(request_, (1.5 * chunk, early)))])
    assert (found.result, found.name) == ("fail", "stream.causal")
    unfinished = replace(streamed(request_, (1.5 * chunk, early)), finalised_s=0.0)
    assert causal([wire.streamed(request_, unfinished)]).result == "fail"
    ahead = {"type": "partial", "audio_s": 2 * chunk, "text": "a", "token_ids": [40]}
    assert (
        causal([wire.streamed(request_, streamed(request_, (1.01 * chunk, ahead), (end + 1, early)))]).result == "fail"
    )


def test_a_stream_that_breaks_the_protocol_is_a_fault(wire: SpeechWire, request_: SpeechRequest) -> None:
    final = {"type": "final", "audio_s": 1.0, "text": "", "token_ids": [1]}
    for events in (
        (),
        ((1.0, final), (2.0, final)),
        ((1.0, {"type": "news"}),),
        ((1.0, 7),),
        ((1.0, {"type": "final"}),),
    ):
        assert "not a transcript" in wire.streamed(request_, streamed(request_, *events)).fault
    assert wire.streamed(request_, streamed(request_, error="connection failed: x")).fault == "connection failed: x"


@pytest.mark.parametrize("audio_s", [0, -1.0, 0.001, 0.0199, 1e999, "nan", "0.5", True, None, [0.5]])
def test_a_partial_transcript_of_no_audio_is_a_fault(
    wire: SpeechWire, request_: SpeechRequest, audio_s: object
) -> None:
    said = json.dumps({"type": "partial", "audio_s": audio_s, "text": "a", "token_ids": [40]}).replace(
        "Infinity", "1e999"
    )
    final = {"type": "final", "text": "", "token_ids": [1]}
    told = streamed(request_, (0.5, 0), (request_.clip.seconds + 1, final))
    found = wire.streamed(request_, replace(told, events=((0.5, said), *told.events[1:])))
    assert "not a transcript" in found.fault


def test_the_shortest_partial_transcript_is_of_a_frame_of_the_model(wire: SpeechWire, request_: SpeechRequest) -> None:
    partial, final = {"type": "partial", "audio_s": SHORTEST_S, "text": ""}, {"type": "final", "text": ""}
    found = wire.streamed(request_, streamed(request_, (0.5, partial), (request_.clip.seconds + 1, final)))
    assert (found.fault, found.partials[0].audio_s) == ("", SHORTEST_S)


def test_an_end_token_alone_is_no_first_token_where_there_are_words(
    speech_target: Target, vocabulary: Vocabulary, request_: SpeechRequest
) -> None:
    wire, chunk, end = SpeechWire(speech_target, vocabulary, 0, frozenset([1])), request_.chunk_s, request_.clip.seconds

    def counted(*ids: list[int]) -> list[int]:
        *partials, final = ids
        told = [(1.01 * chunk, {"type": "partial", "audio_s": chunk, "text": "", "token_ids": one}) for one in partials]
        last = (end + 1, {"type": "final", "text": "", "token_ids": final})
        return [event.tokens for event in wire.streamed(request_, streamed(request_, *told, last)).events]

    assert counted([1], [40, 1], [40, 41, 1]) == [0, 2, 1]
    assert counted([1], [1]) == [1, 0]
