"""`vibeserve-loop report`: a run, or two side by side, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.report import write_atomically
from vibeserve_loop.ledger.runs import find_run
from vibeserve_loop.report_page import sections
from vibeserve_loop.report_page.facts import Run, read_run
from vibeserve_loop.report_page.markup import Markup, element, join
from vibeserve_loop.report_page.rounds import Room, rounds

LARGEST = 300_000
"""Bytes of a page, so that it can be sent by mail and opened on a phone."""

ROOMS = (Room(130_000, 2000, 10**6), Room(60_000, 800, 400), Room(20_000, 300, 160), Room(0, 120, 60), Room(0, 60, 20))
"""How much is told of the rounds, from the most to the least."""


@click.command()
@click.argument("run", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write (default: in the run).")
@click.option("--compare", nargs=2, metavar="RUN RUN", help="Two runs side by side.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of runs.")
def report(run: str | None, output: Path | None, compare: tuple[str, str] | None, runs: Path) -> None:
    """Write RUN (default: the latest) as one HTML page."""
    if run and compare:
        raise UsageError("give either RUN or --compare RUN RUN, not both")
    chosen = [read_run(find_run(name, runs)) for name in (compare or (run,))]
    name = f"compare-{'-'.join(one.id for one in chosen)}.html" if compare else "report.html"
    path = output or (runs if compare else chosen[0].folder.path) / name
    write_atomically(path, page(chosen))
    click.echo(f"{path} holds the page; open it in any browser")


def page(chosen: Sequence[Run]) -> str:
    """The page of one run or of several; the rounds tell less until it is at most LARGEST bytes."""
    text = ""
    for room in ROOMS:
        text = _page(chosen, room)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _page(chosen: Sequence[Run], room: Room) -> str:
    title = " and ".join(f"{Path(run.settings.target).name}, run {run.id}" for run in chosen)
    style = (files("vibeserve_loop") / "report_page" / "style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        # The style sheet is ours and holds nothing of a run.
        element("style", Markup(style)),
    )
    body = element(
        "body", element("h1", title), *(_one(chosen[0], room) if len(chosen) == 1 else _several(chosen, room))
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _one(run: Run, room: Room) -> list[Markup]:
    return [
        sections.summary(run),
        *_section("Improvement", sections.curve([run])),
        *_section("Objectives", sections.values([run])),
        *_section("Rounds", rounds(run, room)),
        *_section("Latencies", sections.latencies(run)),
        *_section("Trade-off", sections.pareto(run)),
        *_section("Share of the bound", sections.roofline(run)),
        *_section("Environment", sections.environment(run)),
        *_section("Do it again", sections.commands(run, room.rounds)),
    ]


def _several(chosen: Sequence[Run], room: Room) -> list[Markup]:
    def pair(kinds: Sequence[Markup]) -> Markup:
        titled = [element("div", element("h3", run.id), part) for run, part in zip(chosen, kinds, strict=True)]
        return element("div", *titled, class_="pair")

    return [
        pair([sections.summary(run) for run in chosen]),
        *_section("Improvement", sections.curve(chosen)),
        *_section("Objectives", sections.values(chosen)),
        *_section("Rounds", pair([rounds(run, room) for run in chosen])),
        *_section("Latencies", pair([sections.latencies(run) for run in chosen])),
        *_section("Trade-off", pair([sections.pareto(run) for run in chosen])),
        *_section("Share of the bound", pair([sections.roofline(run) for run in chosen])),
        *_section("Environment", pair([sections.environment(run) for run in chosen])),
        *_section("Do it again", join([sections.commands(run, room.rounds) for run in chosen])),
    ]


def _section(title: str, content: Markup) -> list[Markup]:
    return [element("h2", title), content]
