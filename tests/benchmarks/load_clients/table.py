"""The results of a comparison of load clients as Markdown tables."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]


def table(results: Path) -> str:
    """Rates, errors and schedules, one table each; of repeats the median, of a failure its reason."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    names = list(dict.fromkeys(row["client"] for row in rows))
    parts = [_rates(rows, names), _errors(rows, names, "ttft"), _errors(rows, names, "itl"), _open(rows, names)]
    versions = ", ".join(f"{name} {next(row['version'] for row in rows if row['client'] == name)}" for name in names)
    dates = " and ".join(sorted({row["date"] for row in rows}))
    return "\n\n".join([f"{dates}: {versions}.", *parts])


def _rates(rows: list[Row], names: list[str]) -> str:
    lines = [
        "| client | streamed tokens per CPU second, per second (256 each, 16 connections)"
        " | requests per CPU second, per second (1 token, 64 connections) |",
        "|---|---|---|",
    ]
    for name in names:
        tokens, requests = (_of(rows, name, part) for part in ("tokens", "requests"))
        rates = [_rate(tokens, "tokens"), _rate(requests, "requests")]
        lines.append(f"| {name} | {' | '.join(rates)} |")
    return "\n".join(lines)


def _rate(rows: list[Row], what: str) -> str:
    if not _whole(rows):
        return _shown(rows, "streams")
    return f"{_shown(rows, f'{what}_per_cpu_s')}, {_shown(rows, f'{what}_per_s')}"


def _errors(rows: list[Row], names: list[str], latency: str) -> str:
    levels = sorted({row["concurrency"] for row in rows if row["part"] == "latency"})
    heads = " | ".join(f"{level} in flight" for level in levels)
    lines = [f"| error of {latency.upper()}, mean / p99, ms | {heads} |", "|---" * (1 + len(levels)) + "|"]
    for name in names:
        cells = []
        for level in levels:
            found = [row for row in _of(rows, name, "latency") if row["concurrency"] == level]
            cells.append(_error(found, latency))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _open(rows: list[Row], names: list[str]) -> str:
    rows = [{**row, "part": "open"} if row["part"] == "beyond" else row for row in rows]
    rates = sorted({row["rate"] for row in rows if row["part"] == "open"})
    heads = " | ".join(f"{rate:g}/s: sent, error of TTFT p50 / p99, ms" for rate in rates)
    lines = [f"| Poisson schedule | {heads} |", "|---" * (1 + len(rates)) + "|"]
    for name in names:
        cells = []
        for rate in rates:
            found = [row for row in _of(rows, name, "open") if row["rate"] == rate]
            sent = _shown(found, "arrivals_per_s")
            cells.append(f"{sent}/s, {_error(found, 'ttft', ('p50', 'p99'))}" if _whole(found) else sent)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of(rows: list[Row], name: str, part: str) -> list[Row]:
    return [row for row in rows if (row["client"], row["part"]) == (name, part)]


def _whole(rows: list[Row]) -> list[Row]:
    return [row for row in rows if "failure" not in row]


def _shown(rows: list[Row], field: str) -> str:
    if not _whole(rows):
        return f"failed: {rows[0]['failure'].splitlines()[-1][:80]}" if rows else "-"
    return f"{median(row[field] for row in _whole(rows)):,.0f}"


def _error(rows: list[Row], latency: str, statistics: tuple[str, str] = ("mean", "p99")) -> str:
    if not _whole(rows):
        return _shown(rows, "streams")
    off = []
    for statistic in statistics:
        field = f"{latency}_{statistic}"
        off.append(median(row["believed"][field] - row["true"][field] for row in _whole(rows)))
    return " / ".join(f"{value:+.2f}" for value in off)
