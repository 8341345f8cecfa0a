"""Many clients of one server: hypothesis draws who comes when, their requests go out in waves, the answers are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pytest_vibeserve.completions import Answer, answer, body, exchange
from pytest_vibeserve.judge import relations
from pytest_vibeserve.judge.bench import Bench
from pytest_vibeserve.judge.cuts import cuts
from pytest_vibeserve.judge.relations import Ask, Move, Prompts
from pytest_vibeserve.load_generator import CANCELLED, Exchange
from pytest_vibeserve.workload import Request

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


class Crowd:
    """Carries out moves on one server and remembers everything heard."""

    def __init__(self, prompts: Prompts) -> None:
        """Nothing has been asked yet."""
        self.prompts, self.heard = prompts, list[Heard]()
        self._waiting: list[Move] = []

    def visit(self, counts: Mapping[str, int]) -> None:
        """One session: as hypothesis draws it, each relation `counts` times or once, and at last those left out."""
        left = {name: counts.get(name, 1) for name in MOVES}
        for turn in schedule(self.prompts.draws.getrandbits(64)):
            if not turn.relation:
                self.send(self.prompts.streams[turn.level % len(self.prompts.streams)])
            elif left[turn.relation]:
                left[turn.relation] -= 1
                self.begin(MOVES[turn.relation](self.prompts))
        rest = [name for name, count in left.items() for _ in range(count)]
        for name in self.prompts.draws.sample(rest, len(rest)):
            self.begin(MOVES[name](self.prompts))
        while self._waiting:
            self.send(self.prompts.streams[-1])

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
        found = sent(self.prompts.bench, [ask for _, ask in order], streams)
        self.heard += found
        for index, move in enumerate(moves):
            mine = {id(one.ask): one.answer for (place, _), one in zip(order, found, strict=True) if place == index}
            following = move.then([mine[id(ask)] for ask in move.asks]) if move.then else None
            if following:
                self.begin(following)


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


def sent(bench: Bench, asks: Sequence[Ask], streams: int) -> list[Heard]:
    """Ask all of it in a closed loop; what was heard, in the order of the asks."""
    requests = [replace(ask.request, id=index) for index, ask in enumerate(asks)]
    limit = bench.target.limits.longest_wait_s
    exchanges = [_exchange(ask, request, limit) for ask, request in zip(asks, requests, strict=True)]
    found = []
    for ask, request, reply in zip(asks, requests, bench.exchange(exchanges, streams), strict=True):
        gone = ask.cancel_after_s is not None and reply.error == CANCELLED
        found.append(Heard(ask, answer(request, reply, bench.vocabulary), gone))
    return found


def _exchange(ask: Ask, request: Request, limit: float) -> Exchange:
    plain = replace(exchange(request, limit), cancel_after_s=ask.cancel_after_s)
    return replace(plain, body=orjson.dumps(body(request) | dict(ask.fields))) if ask.fields else plain
