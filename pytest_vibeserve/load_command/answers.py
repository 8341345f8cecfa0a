"""What came back for a level of load: replies read as OpenAI-like servers stream them, and all that is told of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pytest_vibeserve.completions import Answer, Choice, Event
from pytest_vibeserve.load_generator import Reply, Traffic, bottleneck
from pytest_vibeserve.load_generator.sse import payloads
from pytest_vibeserve.loads import LATENCIES
from pytest_vibeserve.metrics import MILLISECONDS, Block, latencies, measure, percentile
from pytest_vibeserve.workload import Request

PERCENTILES = (50, 90, 95, 99)


def read(request: Request, reply: Reply) -> Answer:
    """A reply as an answer; tokens are counted from the ids that the server sends, else from events."""
    fault = reply.error or ("" if reply.status == 200 else f"HTTP {reply.status}: {reply.body[:80]!r}")
    events: list[Event] = []
    prompt: int | None = None
    try:
        for at_s, payload in payloads(reply.chunks) if not fault else ():
            prompt = _prompt_tokens(payload) or prompt
            events += _events(at_s, payload)
    except (ValueError, TypeError, AttributeError, KeyError) as breach:
        fault = f"not a stream of completions ({breach})"
    count = 0 if fault else sum(event.tokens for event in events)
    fault = fault or ("" if count else "the stream ended without a token")
    choices = (Choice(0, tuple(range(count)), "", ""),) if count else ()
    usage = None if prompt is None else (prompt, count)
    blank = Answer(request, reply.status, fault, choices, tuple(events), usage)
    return replace(blank, scheduled_s=reply.scheduled_s, sent_s=reply.sent_s, done_s=reply.done_s)


def _events(at_s: float, payload: dict[str, Any]) -> Iterator[Event]:
    for choice in payload.get("choices", ()):
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        tokens = len(choice.get("token_ids") or ()) or bool(text)
        if tokens:
            yield Event(at_s, 0, int(tokens), text)


def _prompt_tokens(payload: dict[str, Any]) -> int | None:
    """Tokens of the prompt by the server's own count, where a payload says."""
    usage, ids = payload.get("usage"), payload.get("prompt_token_ids")
    for choice in payload["choices"] if ids is None and isinstance(payload.get("choices"), list) else ():
        ids = ids or choice.get("prompt_token_ids")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return len(ids) if isinstance(ids, list) else told if isinstance(told, int) else None


def told(block: Block, traffic: Traffic) -> dict[str, object]:
    """A level in words and numbers: rates, latencies in ms, failures, and how the client itself did."""
    slo = ["goodput", "slo_attainment"] if block.slo.bounds else []
    found: dict[str, object] = {
        name: measure(name, block) for name in ("output_throughput", "request_throughput", *slo)
    }
    for name in LATENCIES:
        values = sorted(latencies(name, block))
        shown = {f"p{percent}": MILLISECONDS * percentile(values, percent) for percent in PERCENTILES}
        mean = MILLISECONDS * sum(values) / len(values) if values else math.nan
        found[name] = shown | {"mean": mean}
    faults = [answer.fault for answer in block.answers if answer.fault]
    found |= {"issued": len(block.answers), "failed": len(faults), "first_failure": faults[0] if faults else ""}
    health = traffic.health
    found |= {"wall_s": traffic.wall_s, "client_cpu_s": health.cpu_s, "client_cpu_share": health.cpu_share}
    found |= {"loop_lag_p99_ms": 1000 * health.loop_lag_p99_s, "send_delay_p99_ms": 1000 * health.send_delay_p99_s}
    return {**found, "void": bottleneck(health) or ""}


def keeps_up(answers: Sequence[Answer]) -> float:
    """Answers a second over requests a second, in the middle of a load: 1 where the server keeps up with its schedule.

    By the time from the tenth to the ninetieth of a hundred: how long the last answers take is latency, not rate.
    """
    done = sorted(answer.done_s for answer in answers)
    due = sorted(answer.scheduled_s for answer in answers)
    spans = [percentile(times, 90) - percentile(times, 10) for times in (due, done)]
    return 1.0 if spans[1] <= 0 else min(1.0, spans[0] / spans[1])


def json_ready(value: object) -> object:
    """Numbers as JSON can hold them: the infinite as "Infinity", what is no number as null."""
    if isinstance(value, dict):
        return {name: json_ready(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity"
    return value
