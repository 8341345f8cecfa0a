"""Partial transcripts: said in time, whole, at one with their ids, and drawn for the audit, every first one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.agreement import breaches
from pytest_vibeserve.modalities.conclusion import counted
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.speech.audio import Beginning, Clip
from pytest_vibeserve.modalities.speech.wire import Partial, SpeechRequest, StreamAnswer
from pytest_vibeserve.report import Check
from pytest_vibeserve.workload import Request, Vocabulary

CLOCK_S = 0.02
"""How much the stamps of two clocks may differ."""

LENGTH = ("max-tokens", "end-token")
"""Breaches of a transcript that is not whole."""

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


def agreeing(answers: Sequence[StreamAnswer], vocabulary: Vocabulary, end_ids: frozenset[int]) -> list[Check]:
    """Every partial transcript is whole and its text is what its ids say; ids come with all transcripts or with none.

    A whole one ends by itself, or is max_tokens long.
    """
    found: dict[str, list[str]] = {"whole": [], "text": []}
    for answer in answers:
        for partial in _distinct(answer, answer.partials).values():
            for breach in breaches(alone(answer, partial, end_ids), vocabulary, end_ids):
                name = "whole" if breach.name in LENGTH else "text"
                found[name].append(f"a transcript of {partial.audio_s:.2f} s of audio: {breach.message}")
    return [
        counted("stream.whole", found["whole"], len(answers), "streams gave whole transcripts"),
        counted("stream.text", found["text"], len(answers), "streams gave transcripts that say what their ids say"),
        _with_ids(answers),
    ]


def _with_ids(answers: Sequence[StreamAnswer]) -> Check:
    given = [("a final transcript", choice.retokenised) for answer in answers for choice in answer.choices]
    given += [(f"a transcript of {p.audio_s:.2f} s of audio", p.retokenised) for a in answers for p in a.partials]
    bare = [f"{what} has no token_ids, which others have" for what, retokenised in given if retokenised]
    broken = bare if len(bare) < len(given) else []
    return counted("stream.token-ids", broken, len(answers), "streams gave token_ids with every transcript or none")


def audited(answers: Sequence[StreamAnswer], end_ids: frozenset[int], draws: random.Random) -> list[Answer]:
    """Of every stream the first transcript, the one that its first token counts from, and a few others, none twice.

    Each is an answer of its own, to the audio that it says it is of.
    """
    return [alone(answer, partial, end_ids) for answer in answers for partial in _drawn(answer, draws)]


def alone(answer: StreamAnswer, partial: Partial, end_ids: frozenset[int]) -> Answer:
    """A partial transcript as a whole answer to the audio that it says it is of.

    It does not say why it ended: its ids do, and words without ids end by themselves unless max_tokens are reached.
    """
    request, clip = answer.request, _heard(answer, partial)
    assert isinstance(request, SpeechRequest)
    sent = request.clip.until(max(partial.audio_s, partial.sent_audio_s))
    clip = Beginning(clip.samples, clip.rate, clip.key, sent.samples)
    prompt = Conditioned(request.prompt_ids, clip)
    cut = replace(request, clip=clip, prompt_ids=prompt, kind="partial")
    reason = "stop" if partial.retokenised or end_ids.intersection(partial.ids[-1:]) else "length"
    choice = Choice(0, partial.ids, partial.text, reason, retokenised=partial.retokenised)
    return Answer(cut, 101, "", (choice,), prompt_ids=prompt)


def settled(request: Request, choice: Choice) -> Answer:
    """The same partial transcript, of the same audio by an encoder that looked into all that had been sent."""
    assert isinstance(request.prompt_ids, Conditioned)
    clip = request.prompt_ids.condition
    assert isinstance(clip, Beginning)
    prompt = Conditioned(request.prompt_ids, replace(clip, settled=True))
    return Answer(replace(request, prompt_ids=prompt), 101, "", (choice,))


def _drawn(answer: StreamAnswer, draws: random.Random) -> Iterator[Partial]:
    firsts_s = {event.at_s for event in (*answer.events[:1], *[one for one in answer.events if one.tokens][:1])}
    first = _distinct(answer, [partial for partial in answer.partials if partial.at_s in firsts_s])
    rest = [partial for key, partial in _distinct(answer, answer.partials).items() if key not in first]
    yield from first.values()
    yield from draws.sample(rest, min(LATER, len(rest)))


def _distinct(answer: StreamAnswer, partials: Sequence[Partial]) -> dict[object, Partial]:
    """Transcripts by what makes one the same as another, however often it is sent."""
    return {(len(_heard(answer, p).samples), p.ids, p.text): p for p in partials}


def _heard(answer: StreamAnswer, partial: Partial) -> Clip:
    assert isinstance(answer.request, SpeechRequest)
    return answer.request.clip.until(partial.audio_s)
