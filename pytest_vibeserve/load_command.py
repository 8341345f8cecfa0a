"""`python -m pytest_vibeserve.load_command URL`: load any OpenAI-like server from outside a gate.

One JSON object a level on standard output.  Tokens are counted from the ids that the server sends, else from events.
"""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import click
import orjson

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.errors import ExitCode, UsageError, VibeserveError
from pytest_vibeserve.load_generator import (
    Exchange,
    Reply,
    ShardedLoadGenerator,
    Traffic,
    arrivals,
    bottleneck,
    highest,
)
from pytest_vibeserve.load_generator.sse import payloads
from pytest_vibeserve.loads import LATENCIES, LATENCY, Slo, seconds
from pytest_vibeserve.metrics import Block, latencies, measure, percentile
from pytest_vibeserve.workload import Request

PERCENTILES = (50, 90, 95, 99)
COUNT = click.IntRange(min=1)


@dataclass(frozen=True, slots=True)
class Shape:
    """What is sent: route, model, prompt and answer lengths, and how many requests a level takes."""

    path: str
    model: str
    words: int
    tokens: int
    requests: int
    arrival: str
    burstiness: float
    timeout_s: float
    draws: random.Random


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.option("--concurrency", default="", help="Closed loop at these levels, such as 1,16,64.")
@click.option("--rate", default="", help="Open loop at these requests a second, such as 10,20.")
@click.option("--find-rate", nargs=2, type=float, metavar="LOW HIGH", help="Search the highest rate within --bound.")
@click.option("--bound", default="", metavar="METRIC=TIME", help='What the search keeps, such as "ttft_p99=200 ms".')
@click.option("--slo", multiple=True, metavar="LATENCY=TIME", help='For goodput, such as "ttft=200 ms".')
@click.option("--arrival", default="poisson", show_default=True, help="constant, poisson or gamma.")
@click.option("--burstiness", default=1.0, show_default=True, help="Shape of gamma arrivals; less is burstier.")
@click.option("--requests", default=64, type=COUNT, show_default=True, help="Requests at each level.")
@click.option("--words", default=16, type=COUNT, show_default=True, help="Random words in a prompt.")
@click.option("--tokens", default=64, type=COUNT, show_default=True, help="Tokens to ask for.")
@click.option(
    "--timeout", default="60 s", show_default=True, metavar="TIME", help="A request without an answer failed."
)
@click.option("--chat", is_flag=True, help="Use /v1/chat/completions.")
@click.option("--model", default="", help="The model's name, where the server wants one.")
@click.option("--processes", default=1, show_default=True, help="Client processes.")
@click.option("--seed", type=int, help="Of prompts and arrivals (default: another one each time, which is told).")
def load(url: str, concurrency: str, rate: str, find_rate: tuple[float, float] | None, **asked: object) -> None:
    """Load the server at URL and say what it took."""
    bound, chosen, chat = str(asked.pop("bound")), asked.pop("slo"), asked.pop("chat")
    slo, processes = _slo(chosen if isinstance(chosen, tuple) else ()), asked.pop("processes")
    path = "/v1/chat/completions" if chat else "/v1/completions"
    timeout_s = _time(str(asked.pop("timeout")), "--timeout")
    given = asked.pop("seed")
    seed = secrets.randbelow(1 << 32) if given is None else given
    shape = Shape(path=path, timeout_s=timeout_s, draws=random.Random(f"load/{seed}"), **asked)  # type: ignore[arg-type]
    place = _place(url)
    if not (_levels(concurrency, "--concurrency") or _levels(rate, "--rate") or find_rate):
        raise UsageError("no load is asked for: give --concurrency, --rate or --find-rate")
    with ShardedLoadGenerator(*place, processes=int(str(processes))) as client:
        for streams in _whole(_levels(concurrency, "--concurrency")):
            _say({"concurrency": streams, "seed": seed, **_told(client.closed(_exchanges(shape), streams), slo, False)})
        for level in _levels(rate, "--rate"):
            _say({"rate": level, "seed": seed, **_told(client.open(_exchanges(shape, level)), slo, True)})
        if find_rate:
            _say({**_found(client, shape, find_rate, bound), "seed": seed})


def main() -> None:
    """Run the command and leave with the contract's exit codes."""
    try:
        load.main(standalone_mode=False)
    except click.ClickException as error:
        sys.exit(_failed(error.format_message(), ExitCode.USAGE))
    except VibeserveError as error:
        sys.exit(_failed(str(error), error.exit_code))


def _found(client: ShardedLoadGenerator, shape: Shape, span: tuple[float, float], bound: str) -> dict[str, object]:
    metric, limit = _named(bound, "--bound")
    if not LATENCY.fullmatch(metric):
        raise UsageError(f'--bound {bound!r} should name a latency at a percentile, such as "ttft_p99=200 ms"')

    def at(rate: float) -> float:
        traffic = client.open(_exchanges(shape, rate))
        if why := bottleneck(traffic.health):
            raise VibeserveError(f"at {rate:g} requests a second the client was the bottleneck: {why}; use --processes")
        return measure(metric, Block(_answers(traffic), traffic.wall_s, True))

    capacity = highest(at, 1000 * limit, span, 0.05)
    probes = [{"rate": probe.level, metric: probe.value, "held": probe.held} for probe in capacity.probes]
    return {"highest_rate": capacity.held, "lowest_failed": capacity.failed, "bound": bound, "probes": probes}


def _told(traffic: Traffic, slo: Slo, is_open: bool) -> dict[str, object]:
    block = Block(_answers(traffic), traffic.wall_s, is_open, slo)
    rates = ["output_throughput", "request_throughput", *(["goodput", "slo_attainment"] if slo.bounds else [])]
    told: dict[str, object] = {name: measure(name, block) for name in rates}
    for name in LATENCIES:
        values = sorted(latencies(name, block))
        told[name] = {f"p{percent}": 1000 * percentile(values, percent) for percent in PERCENTILES}
        finite = [value for value in values if value < float("inf")]
        told[name] |= {"mean": 1000 * sum(finite) / len(finite)} if finite else {}  # type: ignore[operator]
    faults = [answer.fault for answer in block.answers if answer.fault]
    told |= {"issued": len(block.answers), "failed": len(faults), "first_failure": faults[0] if faults else ""}
    health = traffic.health
    told |= {"wall_s": traffic.wall_s, "client_cpu_s": health.cpu_s, "client_cpu_share": health.cpu_share}
    told |= {"loop_lag_p99_ms": 1000 * health.loop_lag_p99_s, "send_delay_p99_ms": 1000 * health.send_delay_p99_s}
    return {**told, "void": bottleneck(health) or ""}


def _exchanges(shape: Shape, rate: float = 0.0) -> list[Exchange]:
    """One block of load, in words that no earlier block had: a server may remember."""
    draws = shape.draws
    times = arrivals(shape.arrival, rate, shape.requests, draws, shape.burstiness) if rate else [None] * shape.requests
    return [
        Exchange(id, "POST", shape.path, _body(shape, draws), at_s=at, timeout_s=shape.timeout_s)
        for id, at in enumerate(times)
    ]


def _body(shape: Shape, draws: random.Random) -> bytes:
    text = " ".join("".join(draws.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(shape.words))
    said = {"messages": [{"role": "user", "content": text}]} if "chat" in shape.path else {"prompt": text}
    wanted = {
        "max_tokens": shape.tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "return_token_ids": True,
    }
    return orjson.dumps({**({"model": shape.model} if shape.model else {}), **said, **wanted})


def _answers(traffic: Traffic) -> tuple[Answer, ...]:
    return tuple(_answer(reply) for reply in traffic.replies)


def _answer(reply: Reply) -> Answer:
    request = Request(id=reply.id, prompt_ids=(), max_tokens=0)
    fault = reply.error or ("" if reply.status == 200 else f"HTTP {reply.status}: {reply.body[:80]!r}")
    events: list[Event] = []
    try:
        events = list(_events(reply)) if not fault else []
    except (ValueError, TypeError, AttributeError, KeyError) as breach:
        fault = f"not a stream of completions ({breach})"
    count = 0 if fault else sum(event.tokens for event in events)
    fault = fault or ("" if count else "the stream ended without a token")
    choices = (Choice(0, tuple(range(count)), "", ""),) if count else ()
    blank = Answer(request, reply.status, fault, choices, tuple(events))
    return replace(blank, scheduled_s=reply.scheduled_s, sent_s=reply.sent_s, done_s=reply.done_s)


def _events(reply: Reply) -> Iterator[Event]:
    for at_s, payload in payloads(reply.chunks):
        for choice in payload.get("choices", ()):
            text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            tokens = len(choice.get("token_ids") or ()) or bool(text)
            if tokens:
                yield Event(at_s, 0, int(tokens), text)


def _place(url: str) -> tuple[str, int]:
    """Host and port; UsageError for what is no plain HTTP URL."""
    try:
        place = urlsplit(url)
        host, port = place.hostname, place.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL ({error}); write http://HOST:PORT") from None
    if place.scheme != "http" or not host or port == 0:
        told = "; the client speaks no TLS: load the server behind it" if place.scheme == "https" else ""
        raise UsageError(f"{url!r} is no URL that can be loaded; write http://HOST:PORT{told}")
    return host, port or 80


def _whole(levels: Sequence[float]) -> list[int]:
    if any(level != int(level) for level in levels):
        raise UsageError(f"--concurrency takes whole numbers, not {next(one for one in levels if one != int(one)):g}")
    return [int(level) for level in levels]


def _levels(stated: str, option: str) -> list[float]:
    try:
        levels = [float(part) for part in stated.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"{option} takes numbers with commas between, not {stated!r}") from None
    if any(not 0 < level < float("inf") for level in levels):
        raise UsageError(f"{option} takes numbers above 0, not {stated!r}")
    return levels


def _slo(stated: Sequence[str]) -> Slo:
    known = tuple(Slo.model_fields)
    found = dict(_named(one, "--slo") for one in stated)
    strange = next((name for name in found if name not in known), None)
    if strange:
        raise UsageError(f"--slo knows {', '.join(known)}, not {strange!r}")
    return Slo().model_copy(update=found)


def _named(stated: str, option: str) -> tuple[str, float]:
    name, _, value = stated.partition("=")
    return name.strip(), _time(value, option, stated)


def _time(value: str, option: str, stated: str = "") -> float:
    """Seconds of a time above 0 with its unit."""
    try:
        found = seconds(value)
    except ValueError as error:
        raise UsageError(f"{option} {stated or value!r} {error}") from None
    if not found > 0:
        raise UsageError(f"{option} {stated or value!r} should be longer than nothing")
    return found


def _say(told: dict[str, object]) -> None:
    sys.stdout.write(orjson.dumps(told).decode() + "\n")
    sys.stdout.flush()


def _failed(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"error: {message}\n")
    return int(code)


if __name__ == "__main__":
    main()
