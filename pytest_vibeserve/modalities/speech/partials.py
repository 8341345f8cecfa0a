"""Partial transcripts: said in time, whole, and drawn for the audit so that no stream's first one escapes it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.modalities.conclusion import counted
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.speech.audio import Clip
from pytest_vibeserve.modalities.speech.wire import Partial, SpeechRequest, StreamAnswer
from pytest_vibeserve.report import Check

CLOCK_S = 0.02
"""How much the stamps of two clocks may differ."""

LATER = 3
"""Partial transcripts of a stream that are audited beside the one that its first token counts from."""


def causal(answers: Sequence[StreamAnswer]) -> Check:
    """Nothing is said before its audio: no final transcript before the end, no partial of more than was sent."""
    early: list[str] = []
    for answer in answers:
        if answer.done_s < answer.finalised_s - CLOCK_S:
            early.append("a final transcript before all of its audio had been sent")
        ahead = [p for p in answer.partials if p.audio_s > p.sent_audio_s + CLOCK_S]
        early += [
            f"a transcript of {p.audio_s:.2f} s of audio when {p.sent_audio_s:.2f} s had been sent" for p in ahead
        ]
    return counted("stream.causal", early, len(answers), "streams said nothing before its audio")


def whole(answers: Sequence[StreamAnswer], end_ids: frozenset[int]) -> Check:
    """Every partial transcript is all that the model says of its audio: it ends by itself, or is max_tokens long."""
    short = [
        f"{len(partial.ids)} tokens of {partial.audio_s:.2f} s of audio where max_tokens is {answer.request.max_tokens}"
        for answer in answers
        for partial in answer.partials
        if partial.ids and partial.ids[-1] not in end_ids and len(partial.ids) < answer.request.max_tokens
    ]
    return counted("stream.whole", short, len(answers), "streams gave whole transcripts")


def audited(answers: Sequence[StreamAnswer], draws: random.Random) -> list[Answer]:
    """Of every stream the first transcript, the one that its first token counts from, and a few others, none twice.

    Each is an answer of its own, to the audio that it says it is of.
    """
    return [_alone(answer, partial) for answer in answers for partial in _drawn(answer, draws)]


def _drawn(answer: StreamAnswer, draws: random.Random) -> Iterator[Partial]:
    firsts_s = {event.at_s for event in (*answer.events[:1], *[one for one in answer.events if one.tokens][:1])}
    said = [partial for partial in answer.partials if partial.ids and partial.audio_s > 0]
    first = {_key(answer, partial): partial for partial in said if partial.at_s in firsts_s}
    later = {_key(answer, partial): partial for partial in said}
    rest = [partial for key, partial in later.items() if key not in first]
    yield from first.values()
    yield from draws.sample(rest, min(LATER, len(rest)))


def _key(answer: StreamAnswer, partial: Partial) -> tuple[object, ...]:
    """What makes one transcript the same as another, however often it is sent."""
    return len(_heard(answer, partial).samples), partial.ids


def _heard(answer: StreamAnswer, partial: Partial) -> Clip:
    assert isinstance(answer.request, SpeechRequest)
    return answer.request.clip.until(partial.audio_s)


def _alone(answer: StreamAnswer, partial: Partial) -> Answer:
    request, clip = answer.request, _heard(answer, partial)
    assert isinstance(request, SpeechRequest)
    prompt = Conditioned(request.prompt_ids, clip)
    cut = replace(request, clip=clip, prompt_ids=prompt, kind="partial")
    return Answer(cut, 101, "", (Choice(0, partial.ids, partial.text, "length"),))
