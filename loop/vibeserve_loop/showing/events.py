"""Where the events of a run go besides the screen: the run's own log, a tracker, and OpenTelemetry spans."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.foreign import Stumble, attempted
from vibeserve_loop.options import Sinks, masked_text, masked_words
from vibeserve_loop.records import AgentChoice, Round, Settings, Step

Tell = Callable[[Step | Round], None]


class Tracker(Protocol):
    """What is used of a tracker's run, as Weights & Biases names it."""

    def log(self, data: dict[str, Any], step: int) -> None:
        """Take in the numbers of one step."""
        ...

    def finish(self) -> None:
        """End the tracker's run."""
        ...


@contextmanager
def told_to(sinks: Sinks, settings: Settings, log: Path) -> Iterator[Tell]:
    """A function that tells every sink one event; UsageError when one that was asked for is not installed."""
    with ExitStack() as stack:
        tells: list[Tell] = [stack.enter_context(_log(log))]
        if sinks.tracker:
            tells.append(stack.enter_context(_tracker(sinks.tracker, settings)))
        if sinks.otel:
            tells.append(stack.enter_context(_spans(settings)))
        yield lambda event: _each(tells, event)


def check(sinks: Sinks) -> None:
    """UsageError when a sink that was asked for is not installed, or is none."""
    if sinks.tracker:
        _module(sinks.tracker)
    if sinks.otel:
        _sdk()


def _each(tells: list[Tell], event: Step | Round) -> None:
    for tell in tells:
        tell(event)


def numbers(record: Round) -> dict[str, float | str]:
    """The figures of a round by dotted names, for trackers."""
    found: dict[str, float | str] = {"round": record.round, "kind": record.task.kind, "ruling": record.decision.ruling}
    found["wall_s"] = record.wall_s
    if record.work:
        spend = record.work.spend
        found |= {"usd": spend.usd, "tokens_in": spend.tokens_in, "tokens_out": spend.tokens_out}
    if record.assessment:
        found |= {f"{m.metric}.{m.load}": m.value for m in record.assessment.measurements}
        if record.assessment.comparison:
            found["gain"] = record.assessment.comparison.gain
    return found


@contextmanager
def _log(path: Path) -> Iterator[Tell]:
    """One JSON object a line; the loop is the only writer, and a line torn by a kill is ended before the next."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        os.write(handle, b"\n")

    def tell(event: Step | Round) -> None:
        table: dict[str, Any] = {"t": round(time.time(), 3)}
        if isinstance(event, Step):
            table |= {"event": "step", **event.model_dump()}
        else:
            table |= {"event": "round", **numbers(event), "reason": event.decision.reason, "commit": event.commit}
        os.write(handle, json.dumps(table).encode() + b"\n")

    try:
        yield tell
    finally:
        os.close(handle)


def told_of(settings: Settings) -> Settings:
    """The settings as others may read them: nothing secret in the words of agents and commands."""
    agents = tuple(_told_of(choice) for choice in settings.agents)
    planner = settings.planner and _told_of(settings.planner)
    changed = {
        "agent_options": agents[0].options, "more_agents": agents[1:], "planner": planner,
        "reviewer": masked_words("reviewer", settings.reviewer), "executor": masked_text("executor", settings.executor),
        "gate_command": masked_words("gate-command", settings.gate_command),
    }  # fmt: skip
    return settings.model_copy(update=changed)


def _told_of(choice: AgentChoice) -> AgentChoice:
    options = tuple((key, masked_text(key, value)) for key, value in choice.options)
    return choice.model_copy(update={"options": options})


@contextmanager
def _tracker(name: str, settings: Settings) -> Iterator[Tell]:
    """A module whose `init(project=, id=, config=, resume=)` gives a run with `log` and `finish`, as wandb's does."""
    module = _module(name)
    config = told_of(settings).model_dump(mode="json")
    begun = attempted(lambda: module.init(project="vibeserve", id=settings.id, config=config, resume="allow"))
    if isinstance(begun, Stumble):
        raise UsageError(f"--tracker {name} does not begin a run ({begun.reason}): mend it, or leave --tracker out")
    run = cast(Tracker, begun.value)

    def tell(event: Step | Round) -> None:
        if isinstance(event, Round):
            _warned(name, lambda: run.log(dict(numbers(event)), step=event.round))

    try:
        yield tell
    finally:
        _warned(name, run.finish)


def _warned(name: str, call: Callable[[], None]) -> None:
    """A tracker that fails loses what it was told; the run's own log has it all."""
    done = attempted(call)
    if isinstance(done, Stumble):
        print(f"warning: the tracker {name} failed: {done.reason}", file=sys.stderr)


@contextmanager
def _spans(settings: Settings) -> Iterator[Tell]:
    """One span a round, timed as the round was, sent where OTEL_EXPORTER_OTLP_ENDPOINT and the like say."""
    sdk, export, otlp = _sdk()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    tracer = provider.get_tracer("vibeserve_loop")

    def tell(event: Step | Round) -> None:
        if isinstance(event, Step):
            return
        began = int(event.started * 1e9)
        span = tracer.start_span(f"round.{event.task.kind}", start_time=began)
        for key, value in {"run": settings.id, **numbers(event)}.items():
            span.set_attribute(f"vibeserve.{key}", value)
        span.end(end_time=began + int(event.wall_s * 1e9))

    try:
        yield tell
    finally:
        provider.shutdown()


def _module(name: str) -> Any:
    module = _imported(name, f"install it (`pip install {name}`), or leave --tracker out")
    if not hasattr(module, "init"):
        raise UsageError(f"--tracker {name}: the module has no init(); give wandb or a module that works alike")
    return module


def _sdk() -> tuple[Any, Any, Any]:
    mending = "install the extra: `pip install pytest-vibeserve[otel]`, or leave --otel out"
    names = ("sdk.trace", "sdk.trace.export", "exporter.otlp.proto.http.trace_exporter")
    trace, export, otlp = (_imported(f"opentelemetry.{name}", mending) for name in names)
    return trace, export, otlp


def _imported(name: str, mending: str) -> Any:
    found = attempted(lambda: importlib.import_module(name))
    if isinstance(found, Stumble):
        absent = found.reason.startswith(("ModuleNotFoundError", "ImportError"))
        raise UsageError(f"{name}: {found.reason}: {mending if absent else 'mend it, or leave it out'}")
    return found.value
