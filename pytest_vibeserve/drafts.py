"""What one block of load asks for, apart from its words: drawn from a load, reworded, and sent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from pytest_vibeserve import session_turns, traces
from pytest_vibeserve.bench import Bench
from pytest_vibeserve.completions import Answer, answer
from pytest_vibeserve.load_generator import Traffic
from pytest_vibeserve.load_generator.arrivals import arrivals
from pytest_vibeserve.loads import Load
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload

_SPELLINGS_TRIED = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """Requests in their order, the schedule of an open loop in seconds, and the turns of each session."""

    requests: tuple[Request, ...]
    arrivals: tuple[float, ...] | None = None
    turns: tuple[int, ...] = ()

    @property
    def sessions(self) -> list[session_turns.Session]:
        """The requests as sessions."""
        left = list(self.requests)
        return [tuple(left.pop(0) for _ in range(count)) for count in self.turns]


def drawn(bench: Bench, load: Load, count: int, seconds: float) -> Draft:
    """A new draft of so many requests; of a trace, what its beginning of so many seconds holds."""
    if load.arrival == "trace":
        return _traced(bench, load, seconds)
    requests = bench.fresh(f"load {load.name}", count)
    draws = bench.draws(f"arrivals {load.name}")
    if load.arrival == "sessions":
        found = session_turns.grouped(requests, load, bench.target.limits.context, draws)
        return Draft(tuple(turn for session in found for turn in session), turns=tuple(map(len, found)))
    if load.is_open:
        times = arrivals(load.arrival, load.rate, count, draws, load.burstiness)
        return Draft(tuple(requests), times)
    return Draft(tuple(requests))


def _traced(bench: Bench, load: Load, seconds: float) -> Draft:
    target, draws = bench.target, bench.draws(f"words {load.name}")
    whole = traces.read_arrivals(target.folder / load.trace)
    found = traces.fitting(whole, target.limits.context, load.speedup, seconds)
    words = bench.vocabulary.ordinary
    prompts = traces.prompts(found, lambda size: draws.choices(words, k=size), bench.vocabulary.prefix)
    requests = (
        replace(request, prompt_ids=ids, prompt_text="", max_tokens=max(1, arrival.output_tokens), kind="trace")
        for request, ids, arrival in zip(bench.fresh(f"load {load.name}", len(found)), prompts, found, strict=True)
    )
    return Draft(tuple(requests), tuple(arrival.at_s for arrival in found))


def sent(bench: Bench, load: Load, draft: Draft, deadline_s: float = inf) -> tuple[Traffic, tuple[Answer, ...]]:
    """The traffic of a draft and its answers in the order of the requests; a closed loop ends at the deadline."""
    if draft.arrivals is not None:
        traffic = bench.send_on_schedule(draft.requests, draft.arrivals, load.most_in_flight)
    elif draft.turns:
        limit = bench.target.limits.longest_wait_s
        turns = session_turns.exchanges(draft.sessions, load.think, limit)
        traffic = bench.send(turns, load.concurrency, deadline_s)
        replies = {reply.id: reply for reply in traffic.replies}
        read = session_turns.asked(
            draft.sessions, lambda request: answer(request, replies[request.id], bench.vocabulary)
        )
        return traffic, tuple(read)
    elif load.arrival == "streams":
        return _spoken(bench, draft)
    else:
        traffic = bench.send_closed(draft.requests, load.concurrency, deadline_s)
    return traffic, tuple(bench.answers(draft.requests, traffic))


def _spoken(bench: Bench, draft: Draft) -> tuple[Traffic, tuple[Answer, ...]]:
    from pytest_vibeserve.modalities.speech.spoken import spoken

    bench.contract.allow()
    told, answers = spoken(bench.server, bench.contract.wire, draft.requests, bench.draws("starts"))
    return bench.checked(told), answers


def reworded(draft: Draft, target: Target, vocabulary: Vocabulary, draws: random.Random) -> Draft:
    """The same draft in fresh words: lengths, settings and likenesses among its requests stay, no word does.

    Prompts given as ids have their words exchanged one for one, so that what resembled each other still does; prompts
    given as text are drawn anew at their length, or shorter by a token or two where the tokenizer spells them so.
    """
    workload = Workload(target, vocabulary, draws)
    exchanged = _exchange(vocabulary, draws)
    return replace(draft, requests=tuple(_in_words(request, workload, exchanged) for request in draft.requests))


def _in_words(request: Request, workload: Workload, exchanged: dict[int, int]) -> Request:
    if not request.prompt_text:
        return replace(request, prompt_ids=_through(exchanged, request.prompt_ids))
    for _ in range(_SPELLINGS_TRIED):
        text, ids = workload.prompt(len(request.prompt_ids))
        if text:
            return replace(request, prompt_text=text, prompt_ids=ids)
    return replace(request, prompt_text="", prompt_ids=ids)


def _through(exchanged: dict[int, int], ids: Sequence[int]) -> tuple[int, ...]:
    return tuple(exchanged.get(token, token) for token in ids)


def _exchange(vocabulary: Vocabulary, draws: random.Random) -> dict[int, int]:
    shuffled = list(vocabulary.ordinary)
    draws.shuffle(shuffled)
    return dict(zip(vocabulary.ordinary, shuffled, strict=True))
