"""What the parts of a target must agree on, once each of them is well formed by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import nearest
from pytest_vibeserve.loads import LATENCIES, LATENCY, RATES, SPEED, UNDER_SLO, WHOLE, Load
from pytest_vibeserve.traces import read_arrivals

if TYPE_CHECKING:
    from pytest_vibeserve.target import Objective, Target

TOKENWISE, WITH_PROMPTS = ("sessions", "trace"), ("text", "chat-json")
UNITS = ("tok/s", "req/s", "ms", "s", "share")
"""Units that say something definite, and are wrong beside another metric than theirs; any other word is a label."""


def check(target: Target, path: Path) -> None:
    """Pass over a target whose parts agree; UsageError names the part of the file and what to write instead."""
    for objective in target.objective:
        try:
            _check_objective(target, objective)
        except UsageError as error:
            raise UsageError(f"{path}: objective: {error}") from None
    for load in target.load:
        try:
            _check_load(target, load)
        except UsageError as error:
            raise UsageError(f"{path}: load {load.name}: {error}") from None
    names = [load.name for load in target.load]
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: load: two loads have one name ({', '.join(names)}); give each its own")
    if bool(target.model.builder) == bool(target.model.revision):
        raise UsageError(f"{path}: model: give either `builder` or `revision` (with a hub `id`), not both or neither")
    _check_lengths(target, path)


def manner(metric: str) -> tuple[str, str]:
    """Unit and better direction of a metric; of one that is not known, UsageError offers the nearest names."""
    if metric in RATES:
        return RATES[metric], "max"
    if SPEED.fullmatch(metric):
        return "tok/s", "max"
    if LATENCY.fullmatch(metric):
        return "ms", "min"
    known = [*RATES, "output_throughput_p50", *(f"{latency}_p{share}" for latency in LATENCIES for share in (50, 99))]
    raise UsageError(f"no metric is called {metric!r}; {nearest(metric, known)}")


def _check_objective(target: Target, objective: Objective) -> None:
    metric, load = objective.metric, target.load_named(objective.load)
    unit, direction = manner(metric)
    if objective.direction != direction or (objective.unit != unit and objective.unit in UNITS):
        raise UsageError(f'{metric} at {load.name}: write direction = "{direction}" and unit = "{unit}"')
    if metric in UNDER_SLO and not load.slo.bounds:
        raise UsageError(f'{metric} needs an slo at load {load.name}: slo = {{ ttft = "200 ms" }}')
    latency = LATENCY.fullmatch(metric)
    whole = target.modality == "image" or (target.modality == "speech" and load.arrival != "streams")
    if whole and latency and latency["latency"] not in WHOLE:
        raise UsageError(
            f"{metric} at {load.name}: answers come whole there, so that nobody can measure it; write "
            f"e2e_latency_p{latency['percentile']}"
        )
    if sum((metric, load.name) == (other.metric, other.load) for other in target.objective) > 1:
        raise UsageError(f"{metric} at {load.name} is stated twice; leave one out")


def _check_lengths(target: Target, path: Path) -> None:
    for mix in target.mix:
        if mix.shared_tokens >= mix.prompt_tokens[0]:
            raise UsageError(f"{path}: mix {mix.name}: shared_tokens must be fewer than the least of prompt_tokens")
    longest = max(mix.prompt_tokens[1] + mix.output_tokens[1] for mix in target.mix)
    if longest > target.limits.context:
        raise UsageError(f"{path}: mix asks for up to {longest} tokens, but limits.context is {target.limits.context}")
    if target.speech.seconds[0] > target.speech.seconds[1]:
        raise UsageError(f"{path}: speech.seconds: should be [least, most], found {list(target.speech.seconds)}")


def _check_load(target: Target, load: Load) -> None:
    """UsageError where the target's requests cannot arrive that way, or its trace cannot be replayed."""
    if load.arrival in TOKENWISE and target.modality not in WITH_PROMPTS:
        raise UsageError(
            f'arrival = "{load.arrival}" is about tokens of prompts, which requests of modality {target.modality} have '
            'not: write arrival = "closed" or "poisson"'
        )
    if load.arrival == "streams" and not (target.modality == "speech" and target.speech.streams):
        raise UsageError(
            'arrival = "streams" speaks audio streams, but speech.streams says that there are none: write '
            'arrival = "closed", or [speech] with streams where modality is "speech"'
        )
    if load.arrival == "trace":
        read_arrivals(target.folder / load.trace, target.limits.context)
