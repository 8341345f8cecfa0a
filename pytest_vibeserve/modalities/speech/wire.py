"""The wire of speech: whole clips by `POST /v1/audio/transcriptions`, streams by the WebSocket `/v1/audio/stream`.

A whole clip is a multipart form: `file` (WAV, 16 bit, mono), `response_format` `json`, `temperature` `0`,
`max_tokens`, `return_token_ids` `true`.  Its answer is

    {"text": "...", "token_ids": [...], "finish_reason": "stop"}

as in completions: the ids are all that were generated, the end token among them; `finish_reason` is `length` where
max_tokens ended it.

On the WebSocket the client says `{"type": "start", "sample_rate": 16000, "max_tokens": 64, "return_token_ids": true}`,
then sends PCM frames (16 bit, little endian, mono) as binary messages, as fast as they are spoken, and at last
`{"type": "finalize"}`.  The server sends, whenever it likes,

    {"type": "partial", "audio_s": 1.5, "text": "...", "token_ids": [...]}

the transcript of the first `audio_s` seconds, a fiftieth of one at least: of a clip that ends there, or, where the
encoder looks ahead, of those frames as they are when what they look at has come.  And once, at the end,

    {"type": "final", "audio_s": 3.2, "text": "...", "token_ids": [...], "finish_reason": "stop"}

the transcript of all of it, and closes.  Every transcript is whole: it ends with an end token or is max_tokens long.
The first token of a stream is the first token of the first transcript that is of its whole first frame.  An end token
alone is none, unless the final transcript is no more than that.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.speech import audio
from pytest_vibeserve.modalities.speech.audio import Clip
from pytest_vibeserve.modalities.speech.streams import Stream, Streamed
from pytest_vibeserve.model_files import end_ids, setting
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload

PATH = "/v1/audio/transcriptions"
FIRST_SHARE = 0.9
"""Share of its first frame that a stream's first transcript must be of: models read whole frames of their own."""

SHORTEST_S = 0.02
"""What a partial transcript must be of at least: a frame of a speech model, below which none can say anything."""

BOUNDARY = "----form-7MA4YWxkTrZu0gW"
SILENCE = Clip(np.zeros(0, dtype=np.int16), 16_000)
FILE_HEAD = 'Content-Disposition: form-data; name="file"; filename="clip.wav"\r\nContent-Type: audio/wav'


@dataclass(frozen=True, slots=True)
class SpeechRequest(Request):
    """One clip to transcribe; in a stream a frame holds `chunk_s` seconds."""

    clip: Clip = SILENCE
    chunk_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Partial:
    """A transcript in mid-stream: when it came, of how much audio it says it is, and how much had been sent by then.

    Where the server gave no ids they are those of its text, `retokenised`.
    """

    at_s: float
    audio_s: float
    sent_audio_s: float
    ids: tuple[int, ...]
    text: str
    retokenised: bool = False


@dataclass(frozen=True, slots=True)
class StreamAnswer(Answer):
    """What a stream gave: the final transcript as the one choice, the partial ones before it.

    `sent_s` is when the first frame left, `finalised_s` when the last word of the client did (never is infinite).
    """

    partials: tuple[Partial, ...] = ()
    finalised_s: float = 0.0

    @property
    def is_streamed(self) -> bool:
        """It is."""
        return True

    @property
    def asked_s(self) -> float:
        """The end of its audio: the final transcript cannot be had before it."""
        return self.finalised_s


class SpeechWire:
    """Clips of one target on the wire."""

    def __init__(
        self, target: Target, vocabulary: Vocabulary, start_id: int, ends: frozenset[int] = frozenset()
    ) -> None:
        """`start_id` is the decoder's first input, `ends` are the ids that end a transcript."""
        self.target, self.vocabulary, self._start, self._ends = target, vocabulary, start_id, ends

    @classmethod
    def of(cls, target: Target, vocabulary: Vocabulary, model: Path) -> SpeechWire:
        """The wire of a target whose model lies in a folder."""
        start = setting(model, "decoder_start_token_id")
        return cls(target, vocabulary, 0 if start is None else int(start), end_ids(model))

    def fresh(self, draws: random.Random, count: int) -> list[Request]:
        """Fresh clips: as drawn, spliced of two others, shifted, padded and noisy."""
        plain = [self._clip(draws) for _ in range(max(2, count))]
        makers: Sequence[tuple[str, Callable[[Clip], Clip]]] = (
            ("plain", lambda clip: clip), ("spliced", lambda clip: audio.spliced(draws, clip, draws.choice(plain))),
            ("shifted", lambda clip: audio.shifted(draws, clip)), ("padded", lambda clip: audio.padded(draws, clip)),
            ("noisy", lambda clip: audio.noisy(draws, clip)),
        )  # fmt: skip
        found = []
        for index in range(count):
            kind, make = makers[index % len(makers)]
            found.append(
                self.request(
                    make(draws.choice(plain) if index >= len(makers) else plain[index % len(plain)]), draws, kind
                )
            )
        drawn: list[Request] = [replace(request, id=index) for index, request in enumerate(found)]
        return Workload(self.target, self.vocabulary, draws).shaped(drawn)

    def request(self, clip: Clip, draws: random.Random, kind: str) -> SpeechRequest:
        """A clip as a request with a drawn limit of tokens and length of frames."""
        mix = draws.choices(self.target.mix, [mix.weight for mix in self.target.mix])[0]
        return SpeechRequest(
            id=0, prompt_ids=Conditioned((self._start,), clip), max_tokens=draws.randint(*mix.output_tokens),
            stream=False, ignore_eos=False, token_ids=True, kind=kind, clip=clip,
            chunk_s=self.target.speech.chunk_s * draws.choice((0.5, 1.0, 1.0, 2.0)),
        )  # fmt: skip

    def _clip(self, draws: random.Random) -> Clip:
        speech = self.target.speech
        return audio.spoken(draws, draws.uniform(*speech.seconds), speech.sample_rate)

    def exchange(self, request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
        """The exchange of a whole clip."""
        assert isinstance(request, SpeechRequest)
        fields = {
            "response_format": "json", "temperature": "0", "max_tokens": str(request.max_tokens),
            "return_token_ids": "true",
        }  # fmt: skip
        raw, kind = form(fields, request.clip.wav), f"multipart/form-data; boundary={BOUNDARY}"
        return Exchange(
            id=request.id, method="POST", path=PATH, body=raw, at_s=at_s, timeout_s=timeout_s, content_type=kind
        )

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What the reply to a whole clip says; a breach of the protocol is kept as `fault`, never raised."""
        blank = Answer(
            request, reply.status, reply.error, scheduled_s=reply.scheduled_s, sent_s=reply.sent_s, done_s=reply.done_s
        )
        if reply.error:
            return blank
        shown = repr(reply.body[:160].decode("utf-8", "replace"))
        if reply.status != 200:
            return replace(blank, fault=f"HTTP {reply.status}: {shown}")
        try:
            choice = self._choice(orjson.loads(reply.body))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            return replace(blank, fault=f"not a transcript ({type(fault).__name__}: {fault}): {shown}")
        return replace(blank, choices=(choice,), prompt_ids=request.prompt_ids)

    def stream(self, request: SpeechRequest, timeout_s: float, start_s: float = 0.0) -> Stream:
        """The stream of a clip."""
        size = max(1, round(request.chunk_s * request.clip.rate)) * 2
        return Stream(
            request.id, request.clip.samples.tobytes(), request.clip.rate, size, request.max_tokens, start_s, timeout_s
        )

    def streamed(self, request: SpeechRequest, found: Streamed) -> StreamAnswer:
        """What a stream gave; a breach of the protocol is kept as `fault`, never raised."""
        blank = StreamAnswer(
            request, 101, found.error, scheduled_s=found.start_s, sent_s=found.sent_s[0] if found.sent_s else 0.0,
            done_s=found.done_s, finalised_s=found.finalised_s or math.inf,
        )  # fmt: skip
        if found.error:
            return blank
        partials: list[Partial] = []
        finals: list[tuple[float, Choice]] = []
        try:
            for at_s, text in found.events:
                said = orjson.loads(text)
                if finals:
                    raise ValueError("an event after the final one")
                if said["type"] == "final":
                    finals.append((at_s, self._choice(said)))
                elif said["type"] == "partial":
                    partials.append(self._partial(at_s, said, found, request))
                else:
                    raise ValueError(f"an event of type {said['type']!r}")
            ((at_s, choice),) = finals
            first_s = min(request.chunk_s, request.clip.seconds)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            return replace(blank, fault=f"not a transcript ({type(fault).__name__}: {fault})")
        return replace(
            blank, choices=(choice,), prompt_ids=request.prompt_ids, partials=tuple(partials), done_s=at_s,
            events=tuple(self._events([p for p in partials if p.audio_s > FIRST_SHARE * first_s], at_s, choice)),
        )  # fmt: skip

    def _choice(self, said: dict[str, Any]) -> Choice:
        text, given = str(said["text"]), said.get("token_ids")
        ids = self._tokens(text) if given is None else self._checked(given)
        return Choice(0, ids, text, str(said.get("finish_reason") or "stop"), retokenised=given is None)

    def _partial(self, at_s: float, said: dict[str, Any], found: Streamed, request: SpeechRequest) -> Partial:
        choice = self._choice(said)
        sent = sum(sent_s <= at_s for sent_s in found.sent_s) * request.chunk_s
        audio_s = said["audio_s"]
        if type(audio_s) not in (int, float) or not SHORTEST_S <= audio_s < math.inf:
            raise ValueError(f"a partial transcript of {audio_s!r} seconds of audio, not of {SHORTEST_S} or more")
        sent_s = min(sent, request.clip.seconds)
        return Partial(at_s, audio_s, sent_s, choice.ids, choice.text, choice.retokenised)

    def _checked(self, given: Sequence[Any]) -> tuple[int, ...]:
        strange = [one for one in given if type(one) is not int or not 0 <= one < self.vocabulary.size]
        if strange:
            raise ValueError(f"{strange[0]!r} is not a token id of this model")
        return tuple(given)

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.tokenizer.encode(text, add_special_tokens=False).ids)

    def _events(self, partials: Sequence[Partial], final_s: float, choice: Choice) -> Iterator[Event]:
        """The growth of the transcript, for the metrics: each event carries the tokens that it has more than the last.

        A server may guess an end at once, so nothing but an end counts only where that is all that is ever said.
        Partial transcripts without ids carry no token that anybody could check.
        """
        longest, speaks = 0, not self._ends.issuperset(choice.ids)
        told = [(p.at_s, () if p.retokenised else p.ids, p.text) for p in partials]
        told.append((final_s, choice.ids, choice.text))
        for at_s, ids, text in told:
            count = 0 if speaks and self._ends.issuperset(ids) else len(ids)
            yield Event(at_s, 0, max(0, count - longest), text)
            longest = max(longest, count)


def form(fields: dict[str, str], wav: bytes) -> bytes:
    """A multipart form of fields and a WAV file."""
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    file = f"--{BOUNDARY}\r\n{FILE_HEAD}\r\n\r\n"
    return head.encode() + file.encode() + wav + f"\r\n--{BOUNDARY}--\r\n".encode()
