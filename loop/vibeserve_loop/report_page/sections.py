"""The sections of a run's page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from pytest_vibeserve.report import Distribution, Measurement
from vibeserve_loop.decision import gain_text
from vibeserve_loop.ledger import lineage
from vibeserve_loop.records import Round
from vibeserve_loop.report_page import charts
from vibeserve_loop.report_page.charts import Axes, Line, Point
from vibeserve_loop.report_page.facts import (
    Run,
    Standing,
    beaten,
    champion,
    incumbents,
    measured,
    rivals,
    standings,
    trade_off,
)
from vibeserve_loop.report_page.markup import Markup, Node, element, join

NOTHING = "-"
NONE_BEATEN = "By whole intervals no round is beaten in both."


def summary(run: Run) -> Markup:
    """What was gained, in a sentence and some tiles."""
    final = lineage.winner(run.rounds)
    found = final.assessment.comparison if final and final.assessment else None
    if found and final:
        gain = gain_text(found.gain, found.low, found.high)
        where = f"{found.metric} at {found.load}, by the full gate"
        told = f"The winner is round {final.task.base}: {gain} over the starter, {where}."
    elif lineage.starter(run.rounds):
        told = "No candidate has been confirmed by the full gate; the starter stands."
    else:
        told = "The starter has not been accepted."
    work = lineage.judged_work(run.rounds)
    kept = sum(record.decision.ruling == "accept" for record in work)
    tiles: list[tuple[str, str]] = [
        (f"x{found.gain:.2f}" if found else NOTHING, "gain, confirmed"),
        (f"{kept} of {len(work)}", "rounds of work kept"),
        (f"{lineage.seconds(run.rounds) / 60:.1f} min", "time in rounds"),
        (f"{lineage.dollars(run.rounds):.2f} USD", "spent on agents"),
    ]
    listed = [element("li", element("b", value), name) for value, name in tiles]
    return join([element("p", told, class_="lead"), element("ul", *listed, class_="tiles")])


def curve(runs: Sequence[Run]) -> Markup:
    """Gain over the starter, round by round; of two runs in two colours."""
    points: list[Point] = []
    lines: list[Line] = []
    for number, run in enumerate(runs):
        found = standings(run.rounds)
        for one in found:
            ruling = one.record.decision.ruling
            style = ruling if len(runs) == 1 else ("fill-first", "fill-second")[number]
            what = f"{run.id}, round {one.record.round} ({one.record.task.kind}, {ruling})"
            told = f"{what}: {gain_text(one.gain, one.low, one.high)}"
            points.append(Point(float(one.record.round), one.gain, one.low, one.high, style, told))
        lines.append(Line(incumbents(found), ("first", "second")[number]))
    drawn = charts.staircase(points, lines, Axes("round", "gain over the starter"))
    legend = _key(("accept", "kept"), ("reject", "refused"), ("void", "void"))
    if len(runs) > 1:
        legend = _key(*(((f"fill-{place}"), run.id) for place, run in zip(("first", "second"), runs, strict=True)))
    note = " Bars are the gate's intervals, the line is the best kept so far; a final round is the full gate's."
    return element("figure", drawn, element("figcaption", legend, note))


def latencies(run: Run) -> Markup:
    """Every request's latencies at each load, of starter and champion; of older reports one sample a repeat."""
    rows = _distributed(run)
    if not rows:
        return _repeated(run)
    lost = sum(one.unanswered for _, groups in rows for _, one in groups)
    unanswered = f" {lost} were never answered." if lost else ""
    note = f" All requests (of itl, all gaps): the stroke is the median, the dot the 99th percentile.{unanswered}"
    return element("figure", charts.ridges(rows, "ms"), element("figcaption", _before_and_after(run), note))


def _distributed(run: Run) -> list[tuple[str, list[tuple[str, Distribution]]]]:
    found: dict[str, list[tuple[str, Distribution]]] = {}
    for style, record in (("fill-second", lineage.starter(run.rounds)), ("fill-first", champion(run))):
        report = run.report(record) if record else None
        for one in report.distributions if report else ():
            found.setdefault(f"{one.latency} at {one.load}", []).append((style, one))
    return list(found.items())


def _repeated(run: Run) -> Markup:
    """Samples, one a repeat, of every latency: the starter above, the champion below."""
    first, best = measured(lineage.starter(run.rounds)), measured(champion(run))
    rows = []
    for key in [key for key, one in {**first, **best}.items() if one.unit == "ms"]:
        groups = [
            (style, _samples(run, record, key))
            for style, record in (("fill-second", lineage.starter(run.rounds)), ("fill-first", champion(run)))
        ]
        rows.append((f"{key[0]} at {key[1]}", groups))
    drawn = charts.strips(rows, "ms")
    note = " One dot for each repeat's percentile."
    return element("figure", drawn, element("figcaption", _before_and_after(run), note))


def pareto(run: Run) -> Markup:
    """All compared rounds by their gains on two objectives, and which of them another beats in both for sure."""
    keys = rivals(run)
    if keys is None:
        return element("p", "No two objectives have been compared yet.", class_="faint")
    found = [pair for pair in trade_off(run, keys) if all(0 < one.gain < math.inf for one in pair)]
    lost = beaten(found)
    ups, acrosses = (
        [_gained(pair[place], "beaten" if number in lost else "") for number, pair in enumerate(found)]
        for place in (0, 1)
    )
    drawn = charts.scatter(ups, acrosses, Axes(f"gain in {_at(keys[1])}", f"gain in {_at(keys[0])}"))
    legend = _key(("accept", "kept"), ("reject", "refused"), ("void", "void"), ("beaten", "beaten in both"))
    told = ", ".join(str(found[number][0].record.round) for number in sorted(lost))
    said = f"Another round stands above {told} in both by whole intervals." if lost else NONE_BEATEN
    note = f" Gains over the starter (above 1 is better), each by the comparisons on the way to it. {said}"
    return element("figure", drawn, element("figcaption", legend, note))


def roofline(run: Run) -> Markup:
    """Measured shares of what the machine's bandwidth and rate allow, with how each bound was worked out."""
    rows = []
    for style, record in (("fill-second", lineage.starter(run.rounds)), ("fill-first", champion(run))):
        for key, one in measured(record).items():
            if one.ceiling_share is not None:
                rows.append((_at(key), style, one.ceiling_share))
    if not rows:
        return element("p", "No share of a bound was measured.", class_="faint")
    best = champion(run) or lineage.starter(run.rounds)
    report = run.report(best) if best else None
    bounds = [
        (f"{one.metric} at {one.load}", f"{charts.short(one.value)} {one.unit}", one.derivation)
        for one in (report.ceilings if report else ())
    ]
    drawn = element("figure", charts.shares(rows), element("figcaption", _before_and_after(run)))
    return join([drawn, table(("bound", "value", "from"), bounds)])


def environment(run: Run) -> Markup:
    """Where it was measured, of what, and with which versions."""
    report = next((report for _, report in reversed(run.reports)), None)
    if report is None:
        return element("p", "No report of the gate is there.", class_="faint")
    place, target = report.environment, report.target
    rows: list[tuple[Node, ...]] = [
        ("target", f"{target.name} ({target.profile}), digest {target.digest}"),
        ("machine", f"{place.cpu}, {place.cores} cores, {place.memory_gib:.1f} GiB, {place.platform}"),
        ("isolation", place.isolation),
        ("Python", place.python),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(place.packages.items())) or NOTHING),
        ("agent, policy", f"{run.settings.agent}, {run.settings.policy}, seed {run.settings.seed}"),
        ("prompts", f"seed {report.seed.reveal or NOTHING}, committed to as {report.seed.commitment}"),
    ]
    return table(("", ""), rows)


def commands(run: Run, most: int) -> Markup:
    """The command that gives each round's numbers again, of the last `most` rounds."""
    rows: list[tuple[Node, ...]] = []
    for record in run.rounds:
        if record.assessment and record.assessment.command:
            rows.append((record.round, record.task.kind, _command(record.assessment.command)))
    rows = rows[-most:]
    rows.append(("", "this page", _command(shlex.join(["vibeserve-loop", "report", str(run.folder.path)]))))
    note = element("p", "Prompts are drawn anew each time: expect numbers within the intervals, not equal ones.")
    return join([note, table(("round", "kind", "command"), rows)])


def values(runs: Sequence[Run]) -> Markup:
    """Every objective of starter and champion, of one run or side by side."""
    keys = list(dict.fromkeys(key for run in runs for record in _two(run) for key in measured(record)))
    heads = [
        "objective",
        *(f"{_named(record)} {run.id if len(runs) > 1 else ''}" for run in runs for record in _two(run)),
    ]
    rows = [(_at(key), *(_value(measured(record).get(key)) for run in runs for record in _two(run))) for key in keys]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[Node]]) -> Markup:
    """A table that scrolls by itself on a narrow screen."""
    if not rows:
        return element("p", "None.", class_="faint")
    head = element("tr", *(element("th", name) for name in heads)) if any(heads) else None
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("div", element("table", head, *body), class_="wide")


def _two(run: Run) -> list[Round | None]:
    return [lineage.starter(run.rounds), champion(run)]


def _command(text: str) -> Markup:
    return element("pre", text, class_="command")


def _value(found: Measurement | None) -> str:
    return (
        f"{charts.short(found.value)} [{charts.short(found.low)}, {charts.short(found.high)}] {found.unit}"
        if found
        else NOTHING
    )


def _samples(run: Run, record: Round | None, key: tuple[str, str]) -> tuple[float, ...]:
    report = run.report(record) if record else None
    whole = {(one.metric, one.load): one for one in report.measurements} if report else {}
    found = whole.get(key) or measured(record).get(key)
    return (found.samples or (found.low, found.value, found.high)) if found else ()


def _gained(one: Standing, style: str) -> Point:
    told = f"round {one.record.round}: {gain_text(one.gain, one.low, one.high)}"
    return Point(float(one.record.round), one.gain, one.low, one.high, style or one.record.decision.ruling, told)


def _at(key: tuple[str, str]) -> str:
    return f"{key[0]} at {key[1]}"


def _named(record: Round | None) -> str:
    if record is None:
        return "best"
    return {"starter": "starter", "final": f"winner (round {record.task.base})"}.get(
        record.task.kind, f"best kept (round {record.round})"
    )


def _before_and_after(run: Run) -> Markup:
    return _key(("fill-second", "starter"), ("fill-first", _named(champion(run))))


def _key(*entries: tuple[str, str]) -> Markup:
    """What the colours mean."""
    dots = []
    for style, name in entries:
        dot = element("circle", cx=6, cy=6, r=5, class_=style)
        swatch = element("svg", dot, viewBox="0 0 12 12", style="display:inline;width:.8em", aria_hidden="true")
        dots.append(join([swatch, f" {name}  "]))
    return join(dots)
