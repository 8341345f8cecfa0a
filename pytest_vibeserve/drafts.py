"""What one block of load asks for, apart from its words: drawn from a load, reworded, and sent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle
from math import inf
from pathlib import Path

from pytest_vibeserve import session_turns
from pytest_vibeserve.bench import Bench
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import Traffic
from pytest_vibeserve.load_generator.arrivals import arrivals
from pytest_vibeserve.loads import Load
from pytest_vibeserve.target import Target
from pytest_vibeserve.trace_windows import Window, prompts, windows
from pytest_vibeserve.traces import read_arrivals
from pytest_vibeserve.workload import Request, Vocabulary, Workload, shaping

_SPELLINGS_TRIED = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """Requests in their order, the schedule of an open loop in seconds, and the turns of each session.

    `window` is the part of a trace that it replays.
    """

    requests: tuple[Request, ...]
    arrivals: tuple[float, ...] | None = None
    turns: tuple[int, ...] = ()
    window: Window | None = None

    @property
    def sessions(self) -> list[session_turns.Session]:
        """The requests as sessions."""
        left = list(self.requests)
        return [tuple(left.pop(0) for _ in range(count)) for count in self.turns]


def drawn(bench: Bench, load: Load, count: int, seconds: float, number: int = 0) -> Draft:
    """A new draft of so many requests; of a trace, what its window of that number holds, each of so many seconds."""
    if load.arrival == "trace":
        path = bench.target.folder / load.trace
        found = _windows(path, path.stat().st_mtime_ns, load.speedup, seconds)
        window = found[number % len(found)]
        return _traced(bench, load, bench.fresh(f"load {load.name}", len(window.arrivals)), window)
    requests = bench.fresh(f"load {load.name}", count)
    draws = bench.draws(f"arrivals {load.name}")
    if load.arrival == "sessions":
        return _in_sessions(bench, requests, (draws.randint(*load.turns) for _ in requests))
    if load.is_open:
        times = arrivals(load.arrival, load.rate, count, draws, load.burstiness)
        return Draft(tuple(requests), times)
    return Draft(tuple(requests))


@lru_cache(maxsize=8)
def _windows(path: Path, _modified_ns: int, speedup: float, seconds: float) -> tuple[Window, ...]:
    return windows(read_arrivals(path), speedup, seconds)


def _talk(bench: Bench) -> session_turns.Talk:
    wire = bench.contract.wire
    if not isinstance(wire, session_turns.Talk):
        raise UsageError(
            f"requests of modality {bench.target.modality} have no turns and no tokens: use another `arrival`"
        )
    return wire


def _traced(bench: Bench, load: Load, requests: Sequence[Request], window: Window) -> Draft:
    """Requests in fresh words of the lengths, and with the likenesses, that a window of a trace has."""
    talk, draws, words = _talk(bench), bench.draws(f"words {load.name}"), bench.vocabulary.spelt
    found = prompts(window.arrivals, lambda size: draws.choices(words, k=size), bench.vocabulary.prefix)
    context, said = bench.target.limits.context, []
    for request, ids, arrival in zip(requests, found, window.arrivals, strict=True):
        told = talk.worded(request, ids)
        tokens = min(arrival.output_tokens, context - len(told.prompt_ids))
        said.append(replace(told, max_tokens=max(1, tokens), kind="trace"))
    return Draft(tuple(said), tuple(arrival.at_s for arrival in window.arrivals), window=window)


def _in_sessions(bench: Bench, requests: Sequence[Request], counts: Iterator[int]) -> Draft:
    """Sessions of one form each, completions or chats, in the order in which their first turns were drawn."""
    context, room = bench.target.limits.context, _talk(bench).room
    forms = dict.fromkeys(type(request) for request in requests)
    alike = [[request for request in requests if type(request) is form] for form in forms]
    found = [session for some in alike for session in session_turns.grouped(some, counts, context, room)]
    found.sort(key=lambda session: session[0].id)
    return Draft(tuple(turn for session in found for turn in session), turns=tuple(map(len, found)))


def sent(bench: Bench, load: Load, draft: Draft, deadline_s: float = inf) -> tuple[Traffic, tuple[Answer, ...]]:
    """The traffic of a draft and its answers in the order of the requests; a closed loop ends at the deadline."""
    if draft.arrivals is not None:
        traffic = bench.send_on_schedule(draft.requests, draft.arrivals, load.most_in_flight)
    elif draft.turns:
        limit, talk, wire = bench.target.limits.longest_wait_s, _talk(bench), bench.contract.wire
        turns = session_turns.exchanges(draft.sessions, talk, load.think, limit)
        traffic = bench.send(turns, load.concurrency, deadline_s)
        replies = {reply.id: reply for reply in traffic.replies}
        return traffic, tuple(
            session_turns.asked(draft.sessions, talk, lambda request: wire.answer(request, replies[request.id]))
        )
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


def again(bench: Bench, load: Load, draft: Draft) -> Draft:
    """The same draft in fresh words; requests that are more than words and lengths are drawn anew.

    A trace's window, its lengths and likenesses stay; drawn sessions keep their turns where the context has room.
    """
    if draft.window:
        return _traced(bench, load, draft.requests, draft.window)
    if not shaping(bench.target) and all(type(request) is Request for request in draft.requests):
        return reworded(draft, bench.target, bench.vocabulary, bench.draws(f"words {load.name}"))
    requests = bench.fresh(f"load {load.name}", len(draft.requests))
    if draft.turns:
        return _in_sessions(bench, requests, cycle(draft.turns))
    return replace(draft, requests=tuple(requests))


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
