"""Whether an answer ended where it had to: no token more or less, and for the reason that it states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_vibeserve.completions import Choice
from pytest_vibeserve.workload import Request, Vocabulary

LEAST_BYTES = 0.5
"""Bytes of text that a token stands for at least on average; parts of a character and special tokens show none."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One way in which an answer breaks its word: the property's short name and what was found."""

    name: str
    message: str


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop string, and whether there was one."""
    places = [text.find(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)


def ended_rightly(
    request: Request, choice: Choice, vocabulary: Vocabulary, end_ids: frozenset[int]
) -> Iterator[Breach]:
    """Breaches of max_tokens, of the end token and of finish_reason; without ids those that the text shows."""
    if choice.finish_reason not in ("stop", "length"):
        yield Breach("finish-reason", f"finish_reason is {choice.finish_reason!r}, neither 'stop' nor 'length'")
        return
    if choice.retokenised:
        spelt = len(choice.text.encode())
        if choice.finish_reason == "length" and spelt < request.max_tokens * LEAST_BYTES:
            yield Breach("max-tokens", f"{spelt} bytes of text, which cannot be {request.max_tokens} tokens")
        return
    ids, limit = choice.ids, request.max_tokens
    stopped = cut(vocabulary.decode(ids), request.stop)[1]
    ended = not request.ignore_eos and bool(ids) and ids[-1] in end_ids
    if len(ids) > limit:
        yield Breach("max-tokens", f"{len(ids)} tokens where max_tokens is {limit}")
    elif len(ids) < limit and not (stopped or ended):
        yield Breach("max-tokens", f"{len(ids)} of {limit} tokens, without an end token or a stop string")
    if not request.ignore_eos and any(token in end_ids for token in ids[:-1]):
        yield Breach("end-token", f"tokens follow the end token in {list(ids)}")
    if choice.finish_reason != ("stop" if stopped or ended else "length"):
        why = "a stop string or an end token came" if stopped or ended else "nothing but max_tokens ended the answer"
        yield Breach("finish-reason", f"finish_reason is {choice.finish_reason!r} though {why}")
