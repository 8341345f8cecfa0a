"""What other programs read of a report: Markdown for a job's page, Bencher's and github-action-benchmark's JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from pytest_vibeserve import terminal
from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.report import Gain, Report, write_atomically
from pytest_vibeserve.settings import Settings
from pytest_vibeserve.statistics import Interval

DIRECTIONS = {"bigger": "max", "smaller": "min"}
"""What github-action-benchmark calls a direction: a file of it holds metrics of one direction only."""


def write_exports(report: Report, settings: Settings) -> None:
    """Write every file that was asked for; InfrastructureError when one cannot be written."""
    if settings.markdown:
        _write_markdown(terminal.markdown(report), settings.markdown, settings.markdown_is_shared)
    if settings.bencher:
        write_atomically(settings.bencher, bencher(report))
    if settings.github_benchmark:
        for name in DIRECTIONS:
            write_atomically(direction_file(settings.github_benchmark, name), github_benchmark(report, name))


def direction_file(file: Path, direction: str) -> Path:
    """The file of one direction beside the name that was asked for: `bench.json` gives `bench.bigger.json`."""
    return file.with_name(f"{file.stem}.{direction}{file.suffix or '.json'}")


def bencher(report: Report) -> str:
    """Bencher Metric Format: a benchmark for each load, a measure for each metric, with the interval where it is known.

    A comparison is a benchmark of its own at each load, named after the baseline, with a measure for each objective.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in report.measurements:
        if math.isfinite(one.value):
            measures = found.setdefault(f"{_target(report)}/{one.load}", {})
            measures[one.metric] = _limits(one.value, one.low, one.high)
    for name, gain in _gains(report):
        found.setdefault(name, {})[f"{gain.metric}_gain"] = _limits(gain.gain, gain.low, gain.high)
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def github_benchmark(report: Report, direction: str) -> str:
    """github-action-benchmark's custom format for one direction; `range` is the interval's larger half.

    More is better of every gain over a baseline.
    """
    entries = [
        _entry(report, f"{_target(report)}/{one.load}/{one.metric}", Interval(one.value, one.low, one.high), one.unit)
        for one in report.measurements
        if one.direction == DIRECTIONS[direction] and math.isfinite(one.value)
    ]
    for name, gain in _gains(report) if DIRECTIONS[direction] == "max" else ():
        entries.append(_entry(report, f"{name}/{gain.metric}_gain", Interval(gain.gain, gain.low, gain.high), "x"))
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


def _gains(report: Report) -> Iterator[tuple[str, Gain]]:
    """Every gain over the baseline that is a number, under its benchmark's name."""
    compared = report.comparison
    for gain in compared.objectives if compared else ():
        if compared and math.isfinite(gain.gain):
            yield f"{_target(report)}/{gain.load or compared.load} against {compared.baseline}", gain


def _entry(report: Report, name: str, found: Interval, unit: str) -> dict[str, str | float]:
    half = max(found.high - found.value, found.value - found.low)
    entry: dict[str, str | float] = {
        "name": name,
        "value": found.value,
        "unit": unit,
        "extra": f"{report.verdict.outcome}, tree {report.candidate.tree[:12]}, {report.environment.cpu}",
    }
    return entry | ({"range": f"± {half:.4g}"} if math.isfinite(half) else {})


def _target(report: Report) -> str:
    profile = "" if report.target.profile == "full" else f"-{report.target.profile}"
    return f"{report.target.name}{profile}"


def _limits(value: float, low: float, high: float) -> dict[str, float]:
    limits = {"lower_value": low, "upper_value": high}
    return {"value": value} | {name: limit for name, limit in limits.items() if math.isfinite(limit)}


def _write_markdown(text: str, path: Path, is_shared: bool) -> None:
    """A job's page belongs to all steps of the job: there the summary goes below what is on it."""
    if not is_shared:
        write_atomically(path, text)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; make it writable and run again") from error
