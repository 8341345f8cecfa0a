"""One choice of a request while it grows: its tokens, its text, and when it ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from protocol import Request
from sampling import Sampler, TokenLogprobs
from text import StopStrings, Vocabulary

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Event:
    """What one step added to a choice; `offsets` are where each token's text begins, in characters."""

    request_id: str
    index: int
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[TokenLogprobs, ...]
    offsets: tuple[int, ...]
    finish_reason: FinishReason | None


class Sequence:
    """Prompt and answer of one choice; `tokens` holds both."""

    def __init__(self, request: Request, index: int, vocabulary: Vocabulary, eos_ids: frozenset[int]) -> None:
        """Begin choice `index` of a request with its prompt."""
        prompt = request.prompts[index // request.n]
        self.request = request
        self.index = index
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.sampler = Sampler(request, index)
        self.finished = False
        self._length = len(prompt) + request.max_tokens
        self._eos_ids = frozenset[int]() if request.ignore_eos else eos_ids
        self._detokenizer = vocabulary.detokenizer()
        self._stops = StopStrings(request.stop)
        self._characters = 0

    def accept(self, token: int, logprobs: TokenLogprobs | None = None) -> Event:
        """Append one token and return what it shows; a finished sequence takes no more."""
        self.tokens.append(token)
        offset = self._characters
        added = self._detokenizer.add(token)
        text, stopped = self._stops.add(added)
        reason: FinishReason | None = None
        if stopped or token in self._eos_ids:
            reason = "stop"
        elif len(self.tokens) >= self._length:
            reason = "length"
        if reason is not None and not stopped:
            last, stopped = self._stops.add(self._detokenizer.finish())
            text += last if stopped else last + self._stops.finish()
            reason = "stop" if stopped else reason
        self._characters += len(added)
        self.finished = reason is not None
        return Event(
            self.request.id,
            self.index,
            (token,),
            text,
            () if logprobs is None else (logprobs,),
            () if logprobs is None else (offset,),
            reason,
        )


def begin(request: Request, vocabulary: Vocabulary, eos_ids: frozenset[int]) -> list[Sequence]:
    """Return the choices of a request, in order of their index."""
    choices = range(len(request.prompts) * request.n)
    return [Sequence(request, index, vocabulary, eos_ids) for index in choices]


def merge(events: Iterable[Event]) -> Event:
    """Return consecutive events of one choice as one; there is at least one."""
    first, *rest = events
    if not rest:
        return first
    every = [first, *rest]
    return Event(
        first.request_id,
        first.index,
        tuple(token for event in every for token in event.token_ids),
        "".join(event.text for event in every),
        tuple(one for event in every for one in event.logprobs),
        tuple(offset for event in every for offset in event.offsets),
        every[-1].finish_reason,
    )
