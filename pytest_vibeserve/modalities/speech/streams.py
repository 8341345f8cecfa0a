"""WebSocket streams as the gate sees them: a process of its own speaks in real time and stamps what comes back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import orjson

from pytest_vibeserve.errors import InfrastructureError

GRACE_S = 60.0
LATE_S = 0.25
"""How late (p95) frames may leave before the client, not the server, is what is measured; a server may leave those of
a stream waiting as long before it does not serve in real time.
"""

# An isolated interpreter sees neither the working folder nor PYTHONPATH, so a bare checkout is imported by its place.
BOOTSTRAP = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("pytest_vibeserve", sys.argv.pop())
package = sys.modules["pytest_vibeserve"] = module_from_spec(spec)
spec.loader.exec_module(package)
from pytest_vibeserve.modalities.speech.speaker import main
main()
"""


@dataclass(frozen=True, slots=True)
class Leave:
    """A client that does not stay to the end: after how many frames it goes, and whether it says farewell.

    It may open with words that are not the protocol's; "" is none at all.
    """

    frames: int
    farewell: bool = True
    opening: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One clip to be spoken: 16 bit samples, bytes in a frame, when it begins after the traffic's start.

    What becomes of a client that `leaves` is not told.
    """

    id: int
    audio: bytes = field(repr=False)
    rate: int
    frame_bytes: int
    max_tokens: int
    start_s: float
    timeout_s: float
    leaves: Leave | None = None

    @property
    def opening(self) -> str:
        """The client's first message, "" where it says nothing before its audio."""
        if self.leaves and self.leaves.opening is not None:
            return self.leaves.opening
        start = {"sample_rate": self.rate, "max_tokens": self.max_tokens, "return_token_ids": True}
        return orjson.dumps({"type": "start", **start}).decode()


@dataclass(frozen=True, slots=True)
class Streamed:
    """What happened on one stream, in seconds since the traffic's start; `error` is "" when it was closed in order.

    `sent_s` is when each frame was ready to leave: never before its last sample was due, and whatever the server did.
    """

    id: int
    error: str
    start_s: float
    sent_s: tuple[float, ...]
    finalised_s: float
    events: tuple[tuple[float, str], ...]
    done_s: float


@dataclass(frozen=True, slots=True)
class Order:
    """Where to speak: address, and a process in the network namespace to enter (None for the own one)."""

    host: str
    port: int
    netns_pid: int | None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of streams spoken together, in their order.

    How late frames left (p95, p99) and the client's event loop ran (p99), and the client's CPU seconds.
    """

    streams: tuple[Streamed, ...]
    late_s: tuple[float, float]
    lag_s: float
    cpu_s: float


def speak(order: Order, streams: Sequence[Stream]) -> Spoken:
    """Speak all streams at the same time; InfrastructureError when the client itself failed or could not keep time.

    A server that does not take what is said makes nobody else late: that is an error of its stream.
    """
    head = {
        "host": order.host, "port": order.port, "netns_pid": order.netns_pid,
        "streams": [
            {"id": s.id, "bytes": len(s.audio), "rate": s.rate, "frame_bytes": s.frame_bytes,
             "opening": s.opening, "start_s": s.start_s, "timeout_s": s.timeout_s,
             "leaves_after": s.leaves.frames if s.leaves else 0, "farewell": not s.leaves or s.leaves.farewell}
            for s in streams
        ],
    }  # fmt: skip
    given = orjson.dumps(head) + b"\n" + b"".join(stream.audio for stream in streams)
    longest = max((s.start_s + len(s.audio) / 2 / s.rate + s.timeout_s for s in streams), default=0.0) + GRACE_S
    package = Path(__file__).resolve().parents[2] / "__init__.py"
    command = [sys.executable, "-I", "-c", BOOTSTRAP, str(package)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=longest, cwd="/", check=False)
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError("the speaking client did not end in time; is the machine overloaded?") from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise InfrastructureError(f"the speaking client failed: {last[0]}")
    told = orjson.loads(done.stdout)
    found = [_streamed(entry) for entry in told["streams"]]
    late = _late(streams, found)
    if late[0] > LATE_S:
        raise InfrastructureError(f"the speaking client sent its audio {late[0]:.2f} s late; is the machine busy?")
    return Spoken(tuple(found), late, told["lag_s"], told["cpu_s"])


def _streamed(told: dict[str, Any]) -> Streamed:
    waited_s = _waited(told)
    late = f"the server took the audio {waited_s:.2f} s late (p95; {LATE_S:g} allowed)" if waited_s > LATE_S else ""
    error = "; ".join(filter(None, (told["error"], late)))
    return Streamed(
        told["id"], error, told["start_s"], tuple(told["sent_s"]), told["finalised_s"],
        tuple((at_s, text) for at_s, text in told["events"]), told["done_s"],
    )  # fmt: skip


def _waited(told: dict[str, Any]) -> float:
    """How long (p95) the frames of a stream waited on the open line until the server had taken them."""
    taken = chain(told["taken_s"], repeat(told["done_s"]))
    waits = (at_s - max(sent_s, told["opened_s"]) for at_s, sent_s in zip(taken, told["sent_s"], strict=False))
    return _nearly_all(waits, 0.95) if told["opened_s"] else 0.0


def _late(streams: Sequence[Stream], found: Sequence[Streamed]) -> tuple[float, float]:
    late = [
        sent_s - streamed.start_s - min((k + 1) * stream.frame_bytes, len(stream.audio)) / 2 / stream.rate
        for stream, streamed in zip(streams, found, strict=True)
        for k, sent_s in enumerate(streamed.sent_s)
    ]
    return _nearly_all(late, 0.95), _nearly_all(late, 0.99)


def _nearly_all(values: Iterable[float], share: float) -> float:
    """What so large a share of the values does not exceed, 0 of none."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0
