"""The command `vibeserve-loop submit`: hand in edits to a run that waits for them."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.desk.handover import Handover, Waiting
from vibeserve_loop.ledger.runs import find_run


def submit_to(run: str | None, runs: Path, summary: str, source: Path | None, *, nothing: bool) -> Waiting:
    """Hand in the workspace as it is, or after it was made equal to `source`; UsageError when nothing waits."""
    handover = Handover(find_run(run, runs).workspace)
    handover.waiting()
    if source is not None and not (source / "candidate.toml").is_file():
        raise UsageError(f"{source} has no candidate.toml: give the folder of a candidate")
    return handover.submit(summary, nothing=nothing, source=source)


@click.command(name="submit")
@click.argument("run", required=False)
@click.option("--summary", default="", help="What was changed, in a sentence.")
@click.option("--from", "source", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Take its code.")
@click.option("--nothing", is_flag=True, help="There is nothing more to try on this code.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of runs.")
def submit(run: str | None, summary: str, source: Path | None, nothing: bool, runs: Path) -> None:
    """Hand in the edits that RUN (default: the latest) waits for."""
    found = submit_to(run, runs, summary or ("nothing more to try" if nothing else ""), source, nothing=nothing)
    if find_run(run, runs).owner() is None:
        click.echo(f"kept for round {found.round}: no loop is at work, `vibeserve-loop resume` takes it")
    else:
        click.echo(f"round {found.round} goes on with what lies in {found.workspace}")
