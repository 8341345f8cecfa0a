"""Every round of a run as a fold: hypothesis, what was done, verdict, numbers, cost, patch."""

from __future__ import annotations

from dataclasses import dataclass

from vibeserve_loop.brief import insight_of
from vibeserve_loop.decision import gain_text
from vibeserve_loop.records import Assessment, Round
from vibeserve_loop.report_page.facts import Run
from vibeserve_loop.report_page.markup import Markup, Node, element, join
from vibeserve_loop.report_page.sections import table


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a page rounds may take: characters of all patches together, of one text, and how many are shown."""

    patches: int
    text: int
    rounds: int


def rounds(run: Run, room: Room) -> Markup:
    """The rounds, cut so that they fit; what is left out is said, with the command that shows it."""
    shown = run.rounds[: room.rounds // 2] + run.rounds[max(room.rounds // 2, len(run.rounds) - room.rounds // 2) :]
    work = [record for record in shown if record.task.kind == "work" and record.commit]
    folds = [_round(run, record, Room(room.patches // max(1, len(work)), room.text, 0)) for record in shown]
    left = len(run.rounds) - len(shown)
    note = element("p", f"{left} more rounds: vibeserve-loop log {run.id}", class_="faint") if left else None
    return join([*folds[: room.rounds // 2], note, *folds[room.rounds // 2 :]])


def cut(text: str, limit: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def _round(run: Run, record: Round, room: Room) -> Markup:
    done = cut(", ".join(record.work.techniques), room.text) if record.work else ""
    compared = record.assessment.comparison if record.assessment else None
    gain = f", {gain_text(compared.gain, compared.low, compared.high)}" if compared else ""
    title = element("b", f"{record.round}"), f"{record.task.kind}{': ' if done else ''}{done} "
    ruling = element("span", f"{record.decision.ruling}{gain}", class_=record.decision.ruling)
    parts: list[Node] = [element("summary", *title, ruling), _facts(record, room.text)]
    if record.assessment:
        parts.append(_found(record.assessment, insight_of(run.rounds, record), room.text))
    if room.patches and run.patch(record):
        parts.append(_patch(run, record, room.patches))
    return element("details", *parts, id=f"{run.id}-{record.round}")


def _facts(record: Round, limit: int) -> Markup:
    rows: list[tuple[Node, Node]] = [("hypothesis", cut(record.task.hypothesis, limit) or "none")]
    if record.work:
        spend = record.work.spend
        rows.append(("what was done", cut(record.work.summary, limit)))
        cost = f"{spend.usd:.2f} USD, {spend.tokens_in + spend.tokens_out:,} tokens, {spend.seconds:.0f} s of the agent"
        rows.append(("cost", f"{cost}; {record.wall_s:.0f} s in all"))
    else:
        rows.append(("cost", f"{record.wall_s:.0f} s"))
    compared = record.assessment.comparison if record.assessment else None
    if compared and compared.standing:
        rows.append(("objectives", compared.standing))
    rows.append(("verdict", element("span", cut(record.decision.reason, limit), class_=record.decision.ruling)))
    if record.commit:
        rows.append(("code", f"commit {record.commit[:12]}, built on round {record.task.base}"))
    return table(("", ""), rows)


def _found(assessment: Assessment, inside: list[str], limit: int) -> Markup:
    measured = [
        (f"{one.metric} at {one.load}", f"{one.value:.2f}", f"[{one.low:.2f}, {one.high:.2f}]", one.unit)
        for one in assessment.measurements
    ]
    failed = [
        element("p", cut(f"failed {c.name}: {c.detail} {c.example}", limit), class_="reject") for c in assessment.failed
    ]
    hints = [
        element("li", element("b", hint.name), f" {hint.value:.2f}: {cut(hint.text, limit)}")
        for hint in assessment.hints
    ]
    numbers = table(("measured", "value", "95 % interval", "unit"), measured) if measured else None
    seen = element("ul", *(element("li", cut(line, limit)) for line in inside)) if inside else None
    looked = (
        element("details", element("summary", "Seen inside, in a profiled pass of its own"), seen) if seen else None
    )
    return join([*failed, numbers, element("ul", *hints) if hints else None, looked])


def _patch(run: Run, record: Round, room: int) -> Markup:
    lines = run.patch(record).split("\n")
    shown: list[Markup] = []
    left = room
    for line in lines:
        shown.append(_line(f"{line[:400]}\n"))
        left -= len(shown[-1])
        if left < 0:
            break
    rest = len(lines) - len(shown)
    note = f"{rest} more lines: vibeserve-loop show {record.round} --run {run.id}" if rest else None
    return join([element("pre", *shown), element("p", note, class_="faint") if note else None])


def _line(line: str) -> Markup:
    style = {"+": "plus", "-": "minus", "@": "at"}.get(line[:1])
    return element("span", line, class_=style) if style else join([line])
