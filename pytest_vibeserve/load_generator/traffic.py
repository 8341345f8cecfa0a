"""What goes into the load generator and what comes out of it; every time is in seconds since the traffic's start."""

from __future__ import annotations

from dataclasses import dataclass

CANCELLED = "cancelled"
"""The `Reply.error` of a request that the client itself closed early, as its exchange asked."""

STOPPED = "the client stopped"
"""How the `Reply.error` of a request begins that the client's deadline cut off, unsent or unanswered."""

LOOP_LAG_LIMIT_S = 0.020
SEND_DELAY_LIMIT_S = 0.050
CPU_SHARE_LIMIT = 0.95
CPU_WORTH_JUDGING_S = 0.25


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request: `at_s` is its place in an open schedule, `cancel_after_s` and `timeout_s` count from its sending.

    With `after` it is a later turn of a session: it leaves `think_s` after the answer to the exchange of that id, and
    `"@text:ID"` and `"@ids:ID"` in its JSON body stand for what earlier turns answered (follow_up.py).
    """

    id: int
    method: str
    path: str
    body: bytes = b""
    at_s: float | None = None
    cancel_after_s: float | None = None
    timeout_s: float = 60.0
    content_type: str = "application/json"
    after: int | None = None
    think_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came: `status` is 0 before a status line, `error` is empty when the answer is whole.

    `sent_s` is the moment of dispatch, so a connection that has to be opened first is part of the answer's latency.
    Each of `chunks` is (arrival, body bytes), transfer coding removed; bytes of one packet share one stamp.
    """

    id: int
    status: int
    error: str
    scheduled_s: float
    sent_s: float
    chunks: tuple[tuple[float, bytes], ...]
    done_s: float
    headers: tuple[tuple[str, str], ...]

    @property
    def body(self) -> bytes:
        """The bytes of the whole body, as far as they came."""
        return b"".join(part for _, part in self.chunks)

    @property
    def cancelled(self) -> bool:
        """Whether the client closed the connection early because its exchange asked for that."""
        return self.error == CANCELLED

    @property
    def was_stopped(self) -> bool:
        """Whether the client's own deadline ended it before its timeout: that is no failure of the server's."""
        return self.error.startswith(STOPPED)

    def header(self, name: str) -> str:
        """The first value of a header, "" where it is absent."""
        return next((value for key, value in self.headers if key == name.lower()), "")


@dataclass(frozen=True, slots=True)
class ClientHealth:
    """How well the client itself kept up: seconds late (99th percentile), CPU seconds, CPU seconds per second.

    Of several processes: the worst lag, delay and share of any one, and the CPU seconds of all.
    """

    loop_lag_p99_s: float
    send_delay_p99_s: float
    cpu_s: float
    cpu_share: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """All replies in the order of their exchanges, the time until the last was done, and the client's health.

    `start_s` is the moment that all times count from, on the machine's monotonic clock.
    """

    replies: tuple[Reply, ...]
    wall_s: float
    health: ClientHealth
    start_s: float = 0.0


def bottleneck(health: ClientHealth) -> str | None:
    """Why times measured by this client say nothing about the server, or None when they do."""
    if health.loop_lag_p99_s > LOOP_LAG_LIMIT_S:
        return f"the client ran {1000 * health.loop_lag_p99_s:.1f} ms late (p99; {1000 * LOOP_LAG_LIMIT_S:.0f} allowed)"
    if health.send_delay_p99_s > SEND_DELAY_LIMIT_S:
        return (
            f"requests left {1000 * health.send_delay_p99_s:.1f} ms after their schedule"
            f" (p99; {1000 * SEND_DELAY_LIMIT_S:.0f} allowed)"
        )
    # A traffic of a few milliseconds is all CPU and still fast: a share needs some time behind it to mean anything.
    if health.cpu_share > CPU_SHARE_LIMIT and health.cpu_s >= CPU_WORTH_JUDGING_S:
        return f"the client was busy {100 * health.cpu_share:.0f} % of the time ({100 * CPU_SHARE_LIMIT:.0f} allowed)"
    return None
