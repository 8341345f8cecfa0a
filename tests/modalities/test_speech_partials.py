"""Partial transcripts that count, or that nobody else says, are those that are looked at."""

from __future__ import annotations

import random

from told import streamed

from pytest_vibeserve.modalities.speech.partials import audited
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire, StreamAnswer

FAKE = (40, 1)


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
        chosen = audited([answer, answer], random.Random(seed))
        firsts = [one for one in chosen if one.choices[0].ids == FAKE]
        assert len(firsts) == 2
        assert all(one.request.prompt_ids.condition.seconds == request_.chunk_s for one in firsts)


def test_what_is_sent_again_and_again_is_audited_once(wire: SpeechWire, request_: SpeechRequest) -> None:
    once, often = (audited([flooded(wire, request_, copies)], random.Random(1)) for copies in (1, 100))
    ids = [one.choices[0].ids for one in often]
    assert len(ids) == len({*ids}) == len(once)
