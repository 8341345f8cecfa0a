"""The requests of a target over its own routes: chats, clips and images as a gate sends them, WebSocket streams too."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_command.options import Place
from pytest_vibeserve.load_command.sources import Asked
from pytest_vibeserve.load_generator import Reply, Traffic
from pytest_vibeserve.modalities import wire_of
from pytest_vibeserve.modalities.wire import Wire
from pytest_vibeserve.reference import model_folder
from pytest_vibeserve.target import Target, load_target
from pytest_vibeserve.workload import Request, Vocabulary


@dataclass(frozen=True, slots=True)
class OfTarget:
    """Fresh requests of a target, other ones each time."""

    target: Target
    wire: Wire
    prefix: str
    timeout_s: float
    draws: random.Random

    @classmethod
    def named(cls, name: str, profile: str, prefix: str, timeout_s: float, draws: random.Random) -> OfTarget:
        """The target of that name or path; its model is made or fetched where it is not there yet."""
        target = load_target(name, profile)
        model = model_folder(target)
        return cls(target, wire_of(target, Vocabulary(model), model), prefix, timeout_s, draws)

    def requests(self, count: int | None) -> list[Asked]:
        """So many requests by the target's mix."""
        fresh = self.wire.fresh(self.draws, count or 0)
        plain = [(request, self.wire.exchange(request, self.timeout_s)) for request in fresh]
        return [
            Asked(replace(exchange, path=self.prefix + exchange.path), request, len(request.prompt_ids), True)
            for request, exchange in plain
        ]

    def answer(self, request: Request, reply: Reply) -> Answer:
        """What a reply says, by the target's own rules."""
        return self.wire.answer(request, reply)

    def streams(self, place: Place, count: int) -> tuple[Traffic, tuple[Answer, ...]]:
        """So many WebSocket streams at once, spoken in real time; UsageError where the target has none."""
        from pytest_vibeserve.modalities.speech.spoken import spoken

        if place.prefix:
            raise UsageError(f"streams go to the server's own /v1/audio/stream: leave {place.prefix} out of the URL")
        if self.target.modality != "speech" or not self.target.speech.streams:
            raise UsageError(f"{self.target.name} has no audio streams; leave --streams out")
        return spoken(place, self.wire, self.wire.fresh(self.draws, count), self.draws)
