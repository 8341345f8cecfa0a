"""Clips spoken together, as traffic that can be measured and answers that can be judged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import ClientHealth, Reply, Traffic
from pytest_vibeserve.modalities.speech.streams import Leave, Order, Spoken, Streamed, speak
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire, StreamAnswer
from pytest_vibeserve.modalities.wire import Address, Wire
from pytest_vibeserve.workload import Request


def spoken(
    server: Address, wire: Wire, requests: Sequence[Request], draws: random.Random, leaves: Sequence[Leave | None] = ()
) -> tuple[Traffic, tuple[StreamAnswer, ...]]:
    """All clips at the same time, in real time, each beginning within its first frame; answers in their order.

    Of a client that leaves, stated in `leaves` at the clip's place, the answer says nothing.  UsageError where the
    target's requests are no clips.
    """
    clips = [request for request in requests if isinstance(request, SpeechRequest)]
    if not isinstance(wire, SpeechWire) or len(clips) < len(requests):
        raise UsageError("only speech can be spoken as streams: use another `arrival` for this load")
    limit = wire.target.limits.longest_wait_s
    going = leaves or [None] * len(clips)
    streams = [
        replace(wire.stream(clip, limit, draws.uniform(0, clip.chunk_s)), leaves=leave)
        for clip, leave in zip(clips, going, strict=True)
    ]
    told = speak(Order(server.host, server.port, server.netns_pid), streams)
    answers = tuple(wire.streamed(clip, found) for clip, found in zip(clips, told.streams, strict=True))
    return _traffic(told), answers


def _traffic(told: Spoken) -> Traffic:
    wall_s = max((found.done_s for found in told.streams), default=0.0)
    health = ClientHealth(told.lag_s, told.late_s[1], told.cpu_s, told.cpu_s / max(wall_s, 1e-6))
    return Traffic(tuple(map(_reply, told.streams)), wall_s, health)


def _reply(found: Streamed) -> Reply:
    sent_s = found.sent_s[0] if found.sent_s else found.start_s
    return Reply(found.id, 101, found.error, found.start_s, sent_s, (), found.done_s, ())
