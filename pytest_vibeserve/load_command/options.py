"""What the command line says, taken apart and checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_command.search import LEAST_S, MOST_S, TIMES_THE_BOUND, Search
from pytest_vibeserve.loads import LATENCY, Slo, seconds

OPEN = ("rate", "find_rate")
NEEDS: dict[str, tuple[str, ...]] = {
    "arrival": OPEN,
    "bound": ("find_rate",),
    "probe_seconds": ("find_rate",),
    "find_rate": ("bound",),
    "most_in_flight": (*OPEN, "trace"),
    "requests": ("concurrency", *OPEN, "trace"),
    "speedup": ("trace",),
    "turns": ("concurrency",),
    "think": ("turns", "trace"),
    "profile": ("target",),
    "streams": ("target",),
}
"""Options that say nothing without one of others."""

CLASHES: dict[str, tuple[str, ...]] = {
    "trace": ("rate", "find_rate", "arrival", "words", "turns", "target"),
    "target": ("words", "tokens", "chat", "model", "turns", "save_trace"),
    "turns": OPEN,
}
"""Options that say what others say already."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens, as this machine reaches it, and what stands before its routes."""

    host: str
    port: int
    prefix: str = ""
    netns_pid: None = None


def check_together(given: set[str]) -> None:
    """UsageError for an option that would do nothing, or that contradicts another."""
    for name, others in NEEDS.items():
        if name in given and not given & set(others):
            raise UsageError(f"{flag(name)} says nothing without {' or '.join(map(flag, others))}")
    for name, others in CLASHES.items():
        if name in given and (found := [other for other in others if other in given]):
            raise UsageError(f"{flag(name)} cannot go with {flag(found[0])}: leave one of them out")


def check_shape(given: set[str], is_talk: bool) -> None:
    """UsageError for options that a trace of the shape which the file turned out to have cannot take."""
    what = "conversations have no arrivals" if is_talk else "the trace says when requests leave and how long they are"
    for name in ("speedup", "most_in_flight") if is_talk else ("concurrency", "think", "tokens"):
        if name in given:
            raise UsageError(f"{flag(name)} does nothing here: {what}")
    if is_talk and "concurrency" not in given:
        raise UsageError("conversations need --concurrency, how many are led at once")


def flag(name: str) -> str:
    """An option as it is typed."""
    return "--" + name.replace("_", "-")


def place(url: str) -> Place:
    """Host, port and what stands before the routes; UsageError for what is no plain HTTP URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL ({error}); write http://HOST:PORT") from None
    if parts.scheme != "http" or not host or port == 0:
        told = "; the client speaks no TLS: load the server behind it" if parts.scheme == "https" else ""
        raise UsageError(f"{url!r} is no URL that can be loaded; write http://HOST:PORT{told}")
    if parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r}: only what stands before /v1 may follow the port, such as http://HOST:PORT/api")
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    routed = "/v1/" in f"{prefix}/" or prefix.endswith("/completions")
    if routed or not prefix.isascii() or any(sign.isspace() for sign in prefix):
        raise UsageError(
            f"{url!r}: leave the route out, the command adds it: http://HOST:PORT, or with what is before /v1"
        )
    return Place(host, port or 80, prefix)


def whole(levels: Sequence[float]) -> list[int]:
    """Levels of concurrency; UsageError for half ones."""
    half = next((level for level in levels if level != int(level)), None)
    if half is not None:
        raise UsageError(f"--concurrency takes whole numbers, not {half:g}")
    return [int(level) for level in levels]


def levels(stated: str, option: str) -> list[float]:
    """Numbers above 0 with commas between."""
    try:
        found = [float(part) for part in stated.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"{option} takes numbers with commas between, not {stated!r}") from None
    if any(not 0 < level < math.inf for level in found):
        raise UsageError(f"{option} takes numbers above 0, not {stated!r}")
    return found


def slo(stated: Sequence[str]) -> Slo:
    """Latencies to keep."""
    known = tuple(Slo.model_fields)
    found = dict(named(one, "--slo") for one in stated)
    strange = next((name for name in found if name not in known), None)
    if strange:
        raise UsageError(f"--slo knows {', '.join(known)}, not {strange!r}")
    return Slo().model_copy(update=found)


def search(span: tuple[float, float], bound: str, probe: str, requests: int) -> Search:
    """What --find-rate is to do."""
    metric, limit_s = named(bound, "--bound")
    if not LATENCY.fullmatch(metric):
        raise UsageError(f'--bound {bound!r} should name a latency at a percentile, such as "ttft_p99=200 ms"')
    if not 0 < span[0] <= span[1] < math.inf:
        raise UsageError(f"--find-rate needs 0 < LOW <= HIGH requests a second, not {span[0]:g} {span[1]:g}")
    probe_s = time(probe, "--probe-seconds") if probe else min(MOST_S, max(LEAST_S, TIMES_THE_BOUND * limit_s))
    return Search(metric, limit_s, bound, span, probe_s, requests)


def named(stated: str, option: str) -> tuple[str, float]:
    """A name and the seconds that it is given."""
    name, _, value = stated.partition("=")
    return name.strip(), time(value, option, stated)


def time(value: str, option: str, stated: str = "", least: float | None = None) -> float:
    """Seconds of a time with its unit, above 0 or at least `least`."""
    try:
        found = seconds(value)
    except ValueError as error:
        raise UsageError(f"{option} {stated or value!r} {error}") from None
    if not found > 0 and found != least:
        raise UsageError(f"{option} {stated or value!r} should be longer than nothing")
    return found
