"""The command `vibeserve-loop ctl`: orders to a run that is under way."""

from __future__ import annotations

from pathlib import Path

import click

from vibeserve_loop.options import RUNS

RUN = click.option("--run", help="The run (default: the latest); `ctl RUN pause` means the same.")


class Orders(click.Group):
    """A group whose run may stand before the command: `ctl RUN pause` is `ctl pause --run RUN`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Put the run behind the command."""
        if len(args) > 1 and args[0] not in self.commands and args[1] in self.commands:
            args = [args[1], "--run", args[0], *args[2:]]
        return super().resolve_command(ctx, args)


@click.group(cls=Orders)
def ctl() -> None:
    """Tell a run that is under way what to do; it takes orders in between two rounds."""


@ctl.command()
@RUN
@RUNS
def pause(run: str | None, runs: Path) -> None:
    """Wait after the round under way."""
    _give(run, runs, "pause")


@ctl.command()
@RUN
@RUNS
def resume(run: str | None, runs: Path) -> None:
    """Go on after a pause."""
    _give(run, runs, "resume")


@ctl.command()
@click.option("--now", is_flag=True, help="Cut the round under way short; it runs again after `resume`.")
@RUN
@RUNS
def stop(run: str | None, now: bool, runs: Path) -> None:
    """End the run after the round under way; `vibeserve-loop resume` goes on with it."""
    _give(run, runs, "stop", now=now)


@ctl.command()
@click.argument("text")
@RUN
@RUNS
def steer(run: str | None, text: str, runs: Path) -> None:
    """Tell agents and planner TEXT, from the next round on."""
    _give(run, runs, "steer", text=text)


@ctl.command()
@click.option("--max-rounds", help="Rounds of work, or `none`.")
@click.option("--max-hours", help="Hours, or `none`.")
@click.option("--max-usd", help="Money spent on agents, or `none`.")
@click.option("--max-tokens", help="Tokens of agents' models, or `none`.")
@RUN
@RUNS
def budget(run: str | None, runs: Path, **asked: str | None) -> None:
    """Change budgets; those that are not given stay."""
    from vibeserve_loop.commands.ctl import budget_order
    from vibeserve_loop.commands.ctl import give as do_give
    from vibeserve_loop.ledger.runs import find_run

    click.echo(do_give(find_run(run, runs), budget_order(asked)))


def _give(run: str | None, runs: Path, verb: str, *, text: str = "", now: bool = False) -> None:
    from vibeserve_loop.commands.ctl import give as do_give
    from vibeserve_loop.ledger.runs import find_run
    from vibeserve_loop.records import Order

    click.echo(do_give(find_run(run, runs), Order.model_validate({"verb": verb, "text": text}), now=now))
