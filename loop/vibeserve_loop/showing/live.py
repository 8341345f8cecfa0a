"""The live table of a run on a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pytest_vibeserve.target import Target
from vibeserve_loop.decision import gain_text
from vibeserve_loop.records import Round, Settings, Step
from vibeserve_loop.showing.progress import remaining, standing

STYLES = {"accept": "green", "reject": "red", "void": "yellow", "pending": "dim"}


class LiveTable:
    """A context manager that redraws rounds, phase, incumbent, elapsed and remaining."""

    def __init__(self, settings: Settings, target: Target, rounds: list[Round]) -> None:
        """Begin from the rounds that are there already."""
        self._settings, self._target, self._rounds = settings, target, rounds
        self._step: Step | None = None
        self._since = self._began = time.monotonic()
        self._live = Live(get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> LiveTable:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Draw a last time and stop."""
        self._step = None
        self._live.stop()

    def show(self, event: Step | Round) -> None:
        """Take in one event."""
        if isinstance(event, Step):
            self._step, self._since = event, time.monotonic()
        else:
            self._step = None
            self._rounds.append(event)

    def _draw(self) -> RenderableType:
        headline = self._target.headline
        table = Table(title=f"{self._target.name}: {headline.metric} at {headline.load}, run {self._settings.id}")
        for column in ("round", "what", f"{headline.unit}", "against the incumbent", "s", "ruling"):
            table.add_column(column, overflow="fold")
        for record in self._rounds:
            table.add_row(*_row(record))
        parts: list[RenderableType] = [table, Text(f"incumbent: {standing(self._rounds)}")]
        left = remaining(self._settings, self._rounds)
        parts.append(Text(f"elapsed: {_clock(time.monotonic() - self._began)}{'; left: ' + left if left else ''}"))
        if self._step:
            doing = f"round {self._step.round}, {self._step.phase} {_clock(time.monotonic() - self._since)}"
            parts.append(Spinner("dots", Text(f"{doing}: {self._step.text}")))
        return Group(*parts)


def _row(record: Round) -> tuple[Text | str, ...]:
    found = record.assessment
    value = f"{found.headline.value:.1f}" if found and found.headline else "-"
    compared = found.comparison if found else None
    gain = gain_text(compared.gain, compared.low, compared.high) if compared else "-"
    what = ", ".join(record.work.techniques) if record.work and record.work.techniques else record.task.kind
    ruling = Text(record.decision.ruling, style=STYLES[record.decision.ruling])
    return str(record.round), what, value, gain, f"{record.wall_s:.0f}", ruling


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
