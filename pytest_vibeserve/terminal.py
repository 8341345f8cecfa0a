"""The verdict for people: a header, a summary that is understood at a glance, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_vibeserve.insight import Insight
from pytest_vibeserve.judge.ratio import unseen_rate
from pytest_vibeserve.report import Check, Comparison, Measurement, Report

WORDS = {
    "accepted": "ACCEPTED",
    "rejected": "REJECTED",
    "inconclusive": "INCONCLUSIVE",
    "infrastructure": "NOT JUDGED (infrastructure)",
    "nothing": "NOTHING WAS JUDGED",
}


def title(report: Report) -> str:
    """The verdict in one line."""
    word = WORDS[report.verdict.outcome] + (" (provisional)" if report.verdict.provisional else "")
    return f"{word}: {_plain(report.verdict.reason)}"


def lines(report: Report) -> Iterator[str]:
    """The summary, line by line."""
    yield f"target     {report.target.name} ({report.target.profile}), {report.depth} depth"
    yield f"candidate  {report.candidate.path} (tree {report.candidate.tree[:12]}), {report.environment.isolation}"
    for check in report.verdict.checks:
        if check.result != "pass":
            yield f"{check.result:<10} {_check(check)}"
            if check.example:
                yield f"           for example: {_plain(check.example)}"
    yield from _replayed(report)
    for measurement in sorted(report.measurements, key=lambda m: not m.headline):
        yield f"{'headline' if measurement.headline else '':<10} {_measurement(measurement)}"
    audited = sum(int(check.statistic or 0) for check in report.verdict.checks if check.name.endswith(".count"))
    if audited:
        yield f"audited    {audited:,} answers; a fault in {unseen_rate(audited):.2%} of requests could be missed"
    if report.comparison:
        yield f"{'against':<10} {_comparison(report.comparison)}"
    for ceiling in report.ceilings:
        if report.headline and (ceiling.metric, ceiling.load) == (report.headline.metric, report.headline.load):
            yield f"ceiling    {_number(ceiling.value)} {ceiling.unit}: {ceiling.derivation}"
    yield from _hints(report)
    yield f"seed       sha256 {report.seed.commitment[:16]}... was committed to before the run"
    yield f"again      {report.command}"


def _replayed(report: Report) -> Iterator[str]:
    """How much of each trace was replayed, which a reader of its numbers needs to know."""
    for check in report.verdict.checks:
        if check.name == "service.replayed":
            yield f"replayed   {_plain(check.detail)}"


def markdown(report: Report) -> str:
    """The summary as Markdown, for a CI job's page."""
    rows = [f"## {title(report)}", ""]
    rows += [f"`{report.target.name}` ({report.target.profile}, {report.depth}), {report.environment.isolation}, "
             f"{report.environment.cpu}, {report.environment.cores} cores", ""]  # fmt: skip
    if report.measurements:
        rows += ["| metric | load | value | 95 % interval | share of ceiling |", "|---|---|---|---|---|"]
        for found in sorted(report.measurements, key=lambda m: not m.headline):
            share = _percent(found.ceiling_share) if found.ceiling_share is not None else ""
            name = f"**{found.metric}**" if found.headline else found.metric
            interval = f"{_number(found.low)} to {_number(found.high)}"
            rows.append(f"| {name} | {found.load} | {_number(found.value)} {found.unit} | {interval} | {share} |")
        rows.append("")
    if report.comparison:
        rows += [_comparison(report.comparison), "", *_gains(report.comparison)]
    rows += ["| check | result | statistic | limit | |", "|---|---|---|---|---|"]
    for check in report.verdict.checks:
        found_text = "" if check.statistic is None else f"{_number(check.statistic)} {check.unit}"
        limit = "" if check.threshold is None else _number(check.threshold)
        rows.append(f"| {check.name} | {check.result} | {found_text} | {limit} | {_cell(check.detail)} |")
    rows += ["", f"Again: `{report.command}`", ""]
    return "\n".join(rows)


def _check(check: Check) -> str:
    numbers = ""
    if check.statistic is not None and check.threshold is not None:
        numbers = f" [{_number(check.statistic)} against a limit of {_number(check.threshold)} {check.unit}]"
    return f"{check.name}: {_plain(check.detail)}{numbers}"


def _measurement(found: Measurement) -> str:
    share = f", {_percent(found.ceiling_share)} of the ceiling" if found.ceiling_share is not None else ""
    interval = f"[{_number(found.low)}, {_number(found.high)}]"
    return f"{found.metric} at {found.load}: {_number(found.value)} {found.unit} {interval}{share}"


def _comparison(found: Comparison) -> str:
    values = f"{_number(found.candidate_value)} to {_number(found.baseline_value)} {found.unit}"
    dropped = f", {found.dropped} dropped" if found.dropped else ""
    related = f"; {found.standing}" if found.standing else ""
    return (
        f"{found.baseline}: {found.gain:.2f} times [{found.low:.2f}, {found.high:.2f}] "
        f"its {found.metric} at {found.load} ({values}), "
        f"{found.conclusion}, {found.pairs} interleaved pairs{dropped}, {found.ended}{related}"
    )


def _gains(found: Comparison) -> Iterator[str]:
    """A table of every objective that was compared, where there is more than the headline."""
    if len(found.objectives) < 2:
        return
    yield from ("| compared | load | gain | interval | |", "|---|---|---|---|---|")
    for one in found.objectives:
        name = one.load or found.load
        yield f"| {one.metric} | {name} | x{one.gain:.2f} | {one.low:.2f} to {one.high:.2f} | {one.conclusion} |"
    yield ""


def _hints(report: Report) -> Iterator[str]:
    for hint in sorted(report.hints, key=lambda h: -h.value)[:3]:
        yield f"hint       {hint.name}: {hint.text}"
    if report.insight:
        yield f"insight    {_insight(report.insight)}"


def _insight(found: Insight) -> str:
    shares = (("prefill", found.prefill), ("decode", found.decode), ("host", found.host), ("idle", found.idle))
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares if share is not None)
    best = f"; at most x{found.hypotheses[0].gain:.2f}: {found.hypotheses[0].text}" if found.hypotheses else ""
    return _plain(f"{told}{best}" if told else "; ".join(found.notes))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


def _cell(text: str) -> str:
    return _plain(text)[:200].replace("|", "\\|")


def _plain(text: str) -> str:
    """What a candidate said, without line breaks and without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
