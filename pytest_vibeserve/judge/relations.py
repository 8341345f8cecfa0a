"""Requests whose answers must stand in a known relation: what clients who share a server send, move by move."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.workload import Request, Workload

TOKENS = 3
"""Tokens of most answers: a wrong context shows in the first few, and each costs a step."""

SHORTEST, LONGEST = 8, 24
SECRET_BITS = 128
FORCING = 100.0
LEAVING_S = (0.005, 0.02, 0.05, 0.1)
STREAMS = (1, 2, 8)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request whose client may leave early, with fields beside its own; `secret` is what its prompt alone knows."""

    request: Request
    cancel_after_s: float | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    secret: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """Requests that go together; `then` gives what follows from their answers, in a later wave.

    With `streams` they make a wave of their own at that concurrency, in this order.
    """

    asks: tuple[Ask, ...]
    then: Callable[[Sequence[Answer]], Move | None] | None = None
    streams: int = 0


class Prompts:
    """Fresh greedy requests with short prompts, spelt as text or as ids, within the target's context."""

    def __init__(self, bench: Bench, draws: random.Random) -> None:
        """Bind to a target and one stream of random numbers."""
        self.bench, self.draws = bench, draws
        self._workload = Workload(bench.target, bench.vocabulary, draws)

    @property
    def streams(self) -> tuple[int, ...]:
        """Concurrencies to try: from one to all that the target has served."""
        most = self.bench.target.limits.concurrency
        return (*(one for one in STREAMS if one < most), most)

    def fresh(self, kind: str, tokens: int = TOKENS) -> Request:
        """A request nobody has seen, of one relation."""
        room = self.bench.target.limits.context - tokens - 1
        text, ids = self._workload.prompt(self.draws.randint(min(SHORTEST, room), min(LONGEST, room)))
        return self._whole(Request(id=0, prompt_ids=ids, prompt_text=text, max_tokens=tokens, kind=kind))

    def given(self, kind: str, ids: Sequence[int], tokens: int = TOKENS) -> Request:
        """A request with these ids, as many of the first as the context has room for."""
        room = self.bench.target.limits.context - tokens
        return self._whole(Request(id=0, prompt_ids=tuple(ids[:room]), max_tokens=tokens, kind=kind))

    def ids(self, length: int) -> tuple[int, ...]:
        """A prompt of so many tokens, or as many as leave room for a tail and an answer."""
        vocabulary = self.bench.vocabulary
        length = min(length, self.bench.target.limits.context - 2 * TOKENS)
        return (*vocabulary.prefix, *self.tail(length - len(vocabulary.prefix)))

    def tail(self, length: int) -> tuple[int, ...]:
        """So many ordinary tokens, at least one."""
        return tuple(self.draws.choices(self.bench.vocabulary.spelt, k=max(1, length)))

    def told(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Which tokens stand in the prompt of a request that is given these ids."""
        return tuple(ids)

    def _whole(self, request: Request) -> Request:
        return replace(request, stream=self.draws.random() < 0.5)


def twins(prompts: Prompts) -> Move:
    """Two prompts that differ in one token in their middle, together: neither may get the other's answer."""
    one = prompts.ids(prompts.draws.randint(SHORTEST, LONGEST))
    kept = len(prompts.bench.vocabulary.prefix)
    place = min(max(kept, len(one) // 2 + prompts.draws.randint(-2, 2)), len(one) - 1)
    other = (*one[:place], *prompts.tail(1), *one[place + 1 :])
    return Move((Ask(prompts.given("twins", one)), Ask(prompts.given("twins", other))))


def batch(prompts: Prompts) -> Move:
    """A prompt alone, and again somewhere among others."""
    needle = Ask(prompts.fresh("batch"))

    def again(_: Sequence[Answer]) -> Move:
        fillers = [Ask(prompts.fresh("batch", prompts.draws.randint(1, TOKENS))) for _ in range(3)]
        return Move(tuple(prompts.draws.sample([needle, *fillers], 4)))

    return Move((needle,), again, streams=1)


def order(prompts: Prompts) -> Move:
    """The same few requests in another order at every concurrency, from one to the target's own."""
    asks = [Ask(prompts.fresh("order")) for _ in range(2 if prompts.bench.depth == "quick" else 8)]
    levels = prompts.streams if prompts.bench.depth == "full" else (1, prompts.streams[-1])
    move: Move | None = None
    for streams in prompts.draws.sample(levels, len(levels)):
        move = Move(tuple(prompts.draws.sample(asks, len(asks))), _leads_to(move), streams)
    assert move is not None
    return move


def stream(prompts: Prompts) -> Move:
    """One prompt streamed and whole at the same time."""
    request = prompts.fresh("stream", 2 * TOKENS)
    return Move((Ask(replace(request, stream=True, include_usage=True)), Ask(replace(request, stream=False))))


def additivity(prompts: Prompts) -> Move:
    """A short and a longer answer to one prompt, and then the short one continued as a prompt of its own."""
    short = prompts.given("additivity", prompts.ids(prompts.draws.randint(SHORTEST, LONGEST)))
    longer = replace(short, max_tokens=2 * TOKENS)

    def go_on(answers: Sequence[Answer]) -> Move | None:
        said = answers[0].choices[0].ids if answers[0].choices else ()
        return Move((Ask(prompts.given("additivity", (*short.prompt_ids, *said))),)) if said else None

    return Move((Ask(short), Ask(longer)), go_on)


def cancel(prompts: Prompts) -> Move:
    """Clients that leave, beside others who stay; then the prompts of those who left again, whole and with a tail."""
    streams, tokens = prompts.streams[-1], _long_answer(prompts)
    gone = [replace(prompts.given("cancel", prompts.ids(LONGEST), tokens), stream=True) for _ in range(2)]
    asks = []
    for request in gone:
        asks.append(Ask(request, cancel_after_s=prompts.draws.choice(LEAVING_S)))
        asks += [Ask(prompts.fresh("cancel")) for _ in range(2)]

    def retry(_: Sequence[Answer]) -> Move:
        again = [replace(gone[0], max_tokens=TOKENS)]
        again.append(prompts.given("cancel", (*gone[1].prompt_ids, *prompts.tail(2))))
        return Move(tuple(Ask(request) for request in again), None, streams)

    return Move(tuple(asks), retry, streams)


def lengths(prompts: Prompts) -> Move:
    """An answer, and the same cut by a stop string from its own text and by `max_tokens`, among other traffic."""
    request = prompts.fresh("lengths", 2 * TOKENS)

    def cut(answers: Sequence[Answer]) -> Move:
        text = answers[0].choices[0].text if answers[0].choices else ""
        places = [place for place in range(1, len(text) - 1) if "\ufffd" not in text[place : place + 3]]
        asks = [Ask(replace(request, max_tokens=1))]
        if places:
            place = prompts.draws.choice(places)
            asks.append(Ask(replace(request, stop=(text[place : place + prompts.draws.randint(1, 3)],))))
        return Move(tuple(asks))

    return Move((Ask(request),), cut)


def secrets(prompts: Prompts) -> Move:
    """A prompt with a secret that its answer is made to spell, and strangers beside it that must know nothing of it."""
    vocabulary = prompts.bench.vocabulary
    size = math.ceil(SECRET_BITS / math.log2(len(vocabulary.spelt)))
    drawn = tuple(prompts.draws.sample(vocabulary.spelt, size))
    secret = prompts.told(drawn)
    bias = tuple((token, FORCING) for token in secret)
    owner = replace(prompts.given("secrets", (*vocabulary.prefix, *drawn, *drawn[:2])), logit_bias=bias)
    before, *after = (Ask(prompts.fresh("secrets")) for _ in range(3))
    return Move((before, Ask(owner, secret=secret), *after), None, prompts.streams[-1])


def prediction(prompts: Prompts) -> Move:
    """An answer, and the same with predictions of it: the answer must stay the model's own."""
    request, other = prompts.fresh("prediction", 2 * TOKENS), prompts.fresh("prediction")

    def predicted(answers: Sequence[Answer]) -> Move:
        said, foreign = (answer.choices[0].text if answer.choices else "" for answer in answers)
        given = predictions(said, foreign, prompts.draws)
        kept = given if prompts.bench.depth == "full" else given[1:3]
        return Move(tuple(Ask(request, fields=(("prediction", one),)) for one in kept))

    return Move((Ask(request), Ask(other)), predicted)


def predictions(said: str, foreign: str, draws: random.Random) -> tuple[dict[str, str], ...]:
    """`prediction` fields for one request: what it answered, that shuffled, another's answer, and nothing."""
    shuffled = "".join(draws.sample(said, len(said)))
    return tuple({"type": "content", "content": content} for content in (said, shuffled, foreign, ""))


def _leads_to(move: Move | None) -> Callable[[Sequence[Answer]], Move | None]:
    def following(_: Sequence[Answer]) -> Move | None:
        return move

    return following


def _long_answer(prompts: Prompts) -> int:
    """Tokens of an answer that nobody waits for, as many as the workload's longest."""
    longest = max(mix.output_tokens[1] for mix in prompts.bench.target.mix)
    return max(TOKENS, min(longest, prompts.bench.target.limits.context - LONGEST - 2 * TOKENS))
