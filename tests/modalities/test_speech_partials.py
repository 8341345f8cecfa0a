"""Partial transcripts that count, or that nobody else says, are those that are looked at."""

from __future__ import annotations

import random

from told import streamed

from pytest_vibeserve.modalities.speech.partials import agreeing, audited
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire, StreamAnswer

FAKE, ENDS = (40, 1), frozenset([1])


def flooded(wire: SpeechWire, request: SpeechRequest, copies: int) -> StreamAnswer:
    """A stream whose first transcript is made up, and whose others are sent again and again."""
    chunk, end = request.chunk_s, request.clip.seconds
    said = [(1.01 * chunk, {"type": "partial", "audio_s": chunk, "text": "", "token_ids": list(FAKE)})]
    for frame in range(2, int(end / chunk) + 1):
        one = {"type": "partial", "audio_s": frame * chunk, "text": "", "token_ids": [50 + frame, 51 + frame, 1]}
        said += [((frame + 0.01 + 0.001 * copy) * chunk, one) for copy in range(copies)]
    said.append((end + 1, {"type": "final", "text": "", "token_ids": [60, 1]}))
    return wire.streamed(request, streamed(request, *said))


def test_the_transcript_that_the_first_token_counts_from_is_always_audited(
    wire: SpeechWire, request_: SpeechRequest
) -> None:
    answer = flooded(wire, request_, 100)
    for seed in range(20):
        chosen = audited([answer, answer], ENDS, random.Random(seed))
        firsts = [one for one in chosen if one.choices[0].ids == FAKE]
        assert len(firsts) == 2
        assert all(one.request.prompt_ids.condition.seconds == request_.chunk_s for one in firsts)


def test_what_is_sent_again_and_again_is_audited_once(wire: SpeechWire, request_: SpeechRequest) -> None:
    once, often = (audited([flooded(wire, request_, copies)], ENDS, random.Random(1)) for copies in (1, 100))
    ids = [one.choices[0].ids for one in often]
    assert len(ids) == len({*ids}) == len(once)


def failed(
    wire: SpeechWire, request: SpeechRequest, final: dict[str, object], *partials: dict[str, object]
) -> set[str]:
    chunk, end = request.chunk_s, request.clip.seconds
    said = [(1.01 * chunk, {"type": "partial", "audio_s": chunk} | one) for one in partials]
    answer = wire.streamed(request, streamed(request, *said, (end + 1, {"type": "final"} | final)))
    assert not answer.fault
    return {check.name for check in agreeing([answer], wire.vocabulary, ENDS) if check.result == "fail"}


def test_a_transcript_that_its_ids_do_not_say_is_seen(wire: SpeechWire, request_: SpeechRequest) -> None:
    ids = [40, 41, 1]
    right, end = {"text": wire.vocabulary.decode(ids), "token_ids": ids}, min(ENDS)
    assert failed(wire, request_, right, right) == set()
    assert failed(wire, request_, right, right, right | {"text": "hello world"}) == {"stream.text"}
    assert failed(wire, request_, right, {"text": "", "token_ids": []}) == {"stream.whole"}
    assert failed(wire, request_, right, right | {"token_ids": [40, 41]}) == {"stream.whole"}
    assert failed(wire, request_, right, {"text": "", "token_ids": [end] * (request_.max_tokens + 1)}) == {
        "stream.whole"
    }


def test_ids_come_with_every_transcript_of_a_stream_or_with_none(wire: SpeechWire, request_: SpeechRequest) -> None:
    right, bare = {"text": wire.vocabulary.decode([40, 1]), "token_ids": [40, 1]}, {"text": "hello"}
    assert failed(wire, request_, right, right, bare) == {"stream.token-ids"}
    assert failed(wire, request_, bare, bare, right) == {"stream.token-ids"}
    assert failed(wire, request_, bare, bare) == set()


def test_transcripts_without_ids_are_audited_too(wire: SpeechWire, request_: SpeechRequest) -> None:
    chunk, end = request_.chunk_s, request_.clip.seconds
    partial = (1.01 * chunk, {"type": "partial", "audio_s": chunk, "text": "hello"})
    answer = wire.streamed(request_, streamed(request_, partial, (end + 1, {"type": "final", "text": "bye"})))
    (chosen,) = audited([answer], ENDS, random.Random(0))
    assert (chosen.choices[0].text, chosen.choices[0].retokenised) == ("hello", True)
    assert [event.tokens > 0 for event in answer.events] == [False, True], (
        "words that nobody can check count for nothing"
    )
