"""Many clients of one server: hypothesis draws who comes when, their requests go out in waves, the answers are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Protocol

import orjson
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pytest_vibeserve import completions
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.judge import relations
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.cuts import cuts
from pytest_vibeserve.judge.relations import Ask, Move, Prompts
from pytest_vibeserve.load_generator import CANCELLED, Exchange, Reply
from pytest_vibeserve.workload import Request, Vocabulary

MOVES: Mapping[str, Callable[[Prompts], Move]] = {
    "cuts": cuts,
    "twins": relations.twins,
    "batch": relations.batch,
    "order": relations.order,
    "stream": relations.stream,
    "additivity": relations.additivity,
    "cancel": relations.cancel,
    "lengths": relations.lengths,
    "secrets": relations.secrets,
    "prediction": relations.prediction,
}
STEPS = 60


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of a session: a relation begins, or what has gathered is sent at a concurrency (by its place)."""

    relation: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What was asked and what came back; `gone` when the client left before the end, as it had meant to."""

    ask: Ask
    answer: Answer
    gone: bool


class Schedule(RuleBasedStateMachine):
    """Draws the turns of a session and sends nothing: a server that fails is never asked to fail again."""

    def __init__(self) -> None:
        """Nobody is there yet."""
        super().__init__()
        self.turns: list[Turn] = []
        self._gathered, self._deserted = 0, True

    @initialize(visitors=st.integers(0, 2**32))
    def open(self, visitors: int) -> None:
        """The simplest example, which hypothesis always tries first, is a session to which nobody comes."""
        self._deserted = visitors == 0

    @rule(relation=st.sampled_from(sorted(MOVES)))
    def begin(self, relation: str) -> None:
        """A relation joins what has gathered."""
        if not self._deserted:
            self.turns.append(Turn(relation))
            self._gathered += 1

    @rule(level=st.integers(0, len(relations.STREAMS)))
    def send(self, level: int) -> None:
        """What has gathered is sent at once."""
        if self._gathered:
            self.turns.append(Turn(level=level))
            self._gathered = 0


class Wire(Protocol):
    """How the requests of all routes travel."""

    def exchange(self, request: Request, timeout_s: float) -> Exchange:
        """The exchange of a request."""

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""


@dataclass(frozen=True, slots=True)
class Completions:
    """The wire where completions are the only route."""

    vocabulary: Vocabulary

    def exchange(self, request: Request, timeout_s: float) -> Exchange:
        """The exchange of a completion."""
        return completions.exchange(request, timeout_s)

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says."""
        return completions.answer(request, reply, self.vocabulary)


class Crowd:
    """Carries out moves on one server, each on one of its routes, and remembers everything heard."""

    def __init__(self, prompts: Prompts, *others: Prompts, wire: Wire | None = None) -> None:
        """Nothing has been asked yet; `others` are the prompts of further routes, and `wire` knows them all."""
        self.prompts, self.heard = prompts, list[Heard]()
        self._routes, self._wire = (prompts, *others), wire or Completions(prompts.bench.vocabulary)
        self._turns = {name: cycle(prompts.draws.sample(self._routes, len(self._routes))) for name in MOVES}
        self._waiting: list[Move] = []

    def visit(self, counts: Mapping[str, int]) -> None:
        """One session: as hypothesis draws it, each relation `counts` times or once, and at last those left out.

        What is begun several times goes by each route in turn, and secrets are told by every route.
        """
        left = {name: counts.get(name, 1) for name in MOVES}
        left["secrets"] = max(left["secrets"], len(self._routes))
        for turn in schedule(self.prompts.draws.getrandbits(64)):
            if not turn.relation:
                self.send(self.prompts.streams[turn.level % len(self.prompts.streams)])
            elif left[turn.relation]:
                left[turn.relation] -= 1
                self.begin(self._move(turn.relation))
        rest = [name for name, count in left.items() for _ in range(count)]
        for name in self.prompts.draws.sample(rest, len(rest)):
            self.begin(self._move(name))
        while self._waiting:
            self.send(self.prompts.streams[-1])

    def _move(self, name: str) -> Move:
        return MOVES[name](next(self._turns[name]))

    def begin(self, move: Move) -> None:
        """Let a move wait for the next wave, or make a wave of its own of it."""
        if move.streams:
            self._go([move], move.streams)
        else:
            self._waiting.append(move)

    def send(self, streams: int) -> None:
        """Send what waits."""
        moves, self._waiting = self._waiting, []
        self._go(moves, streams)

    def _go(self, moves: Sequence[Move], streams: int) -> None:
        """Send moves, mixed half of the time, and begin what follows from them."""
        order = [(index, ask) for index, move in enumerate(moves) for ask in move.asks]
        if len(moves) > 1 and self.prompts.draws.random() < 0.5:
            self.prompts.draws.shuffle(order)
        found = self.sent([ask for _, ask in order], streams)
        self.heard += found
        for index, move in enumerate(moves):
            mine = {id(one.ask): one.answer for (place, _), one in zip(order, found, strict=True) if place == index}
            following = move.then([mine[id(ask)] for ask in move.asks]) if move.then else None
            if following:
                self.begin(following)

    def sent(self, asks: Sequence[Ask], streams: int, bench: Bench | None = None) -> list[Heard]:
        """Ask all of it in a closed loop, of another bench where one is given; what was heard, in the asks' order."""
        bench = bench or self.prompts.bench
        requests = [replace(ask.request, id=index) for index, ask in enumerate(asks)]
        limit = bench.target.limits.longest_wait_s
        exchanges = [_exchange(self._wire, ask, request, limit) for ask, request in zip(asks, requests, strict=True)]
        found = []
        for ask, request, reply in zip(asks, requests, bench.exchange(exchanges, streams), strict=True):
            gone = ask.cancel_after_s is not None and reply.error == CANCELLED
            found.append(Heard(ask, self._wire.answer(request, reply), gone))
        return found


def schedule(number: int) -> list[Turn]:
    """The turns of one session that hypothesis draws from a seed."""
    drawn: list[list[Turn]] = []

    class Drawn(Schedule):
        def teardown(self) -> None:
            drawn.append(self.turns)

    plain = settings(
        max_examples=2,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=tuple(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    run_state_machine_as_test(seed(number)(Drawn), settings=plain)
    return drawn[-1]


def _exchange(wire: Wire, ask: Ask, request: Request, limit: float) -> Exchange:
    plain = replace(wire.exchange(request, limit), cancel_after_s=ask.cancel_after_s)
    return replace(plain, body=orjson.dumps(orjson.loads(plain.body) | dict(ask.fields))) if ask.fields else plain
