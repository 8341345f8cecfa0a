"""The command `vibeserve-loop`; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pytest_vibeserve.errors import ExitCode, VibeserveError
from vibeserve_loop.commands.ctl_options import ctl
from vibeserve_loop.options import RUNS, Elsewhere, knobs, limits, sinks, sinks_of, words_of

JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, everything else on stderr.")
PROFILE = click.option("--profile", default="full", show_default=True, help="The target's profile.")
DEPTH = click.option("--depth", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
GATE = click.option("--gate-command", default="", hidden=True, help="Start the gate with this instead of this Python.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pytest-vibeserve")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Search for a server that fits one model, one machine and one workload; the gate decides what counts."""
    from vibeserve_loop.commands.config import configure

    configure(ctx, Path.cwd())


@cli.command()
@click.argument("target")
@PROFILE
@click.option("--agent", "agents", multiple=True, default=("recipes",), help="Who edits: NAME or 'NAME KEY=VALUE ...'.")
@click.option("--agent-option", "agent_options", multiple=True, metavar="KEY=VALUE", help="Passed to every agent.")
@click.option("--planner", default="auto", show_default=True, help="Who plans for the agent policy: rule, or an agent.")
@click.option("--policy", default="plain", show_default=True, help="What is tried and kept.")
@click.option("--sandbox", default="auto", show_default=True, help="Where agents' commands run.")
@click.option("--strict", is_flag=True, help="Accept nothing that ran unisolated.")
@click.option("--baseline", "baselines", multiple=True, help="Also judge this, for the last page.")
@click.option("--reviewer", default="", metavar="COMMAND", help="Reads each change; may have more audited, no more.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Rounds side by side.")
@click.option("--device", "devices", multiple=True, help="Cores (0-3) or a GPU's UUID, for one gate at a time.")
@click.option("--executor", default="", help="Where gates run: 'ray [address=A] [cpus=N] [gpus=N]'; else here.")
@click.option("--seed", type=int, help="Makes the search's own choices repeatable.")
@limits
@knobs
@sinks
@GATE
@RUNS
@JSON
def run(runs: Path, as_json: bool, gate_command: str, **asked: object) -> ExitCode:
    """Start a run on TARGET and carry it through."""
    from vibeserve_loop.commands.follow import follow
    from vibeserve_loop.commands.start import new_run, request_of
    from vibeserve_loop.showing.events import check

    where = sinks_of(asked)
    check(where)
    return follow(new_run(request_of({**asked, "gate_command": command_of(gate_command)}), runs), where, as_json)


@cli.command()
@click.argument("run", required=False)
@limits
@sinks
@RUNS
@JSON
def resume(run: str | None, runs: Path, as_json: bool, **asked: object) -> ExitCode:
    """Go on with RUN (default: the latest); budgets that are given hold from now on."""
    from vibeserve_loop.commands.ctl import go_on
    from vibeserve_loop.commands.follow import follow
    from vibeserve_loop.ledger.runs import find_run

    where, folder = sinks_of(asked), find_run(run, runs)
    return follow(folder, where, as_json, before=lambda: go_on(folder, asked))


@cli.command()
@click.argument("run", required=False)
@RUNS
@JSON
def log(run: str | None, runs: Path, as_json: bool) -> None:
    """List the rounds of RUN (default: the latest)."""
    from vibeserve_loop.commands.views import show_log
    from vibeserve_loop.ledger.runs import find_run

    show_log(find_run(run, runs), as_json=as_json)


@cli.command()
@click.argument("number", metavar="ROUND", type=int)
@click.option("--run", help="The run (default: the latest).")
@RUNS
@JSON
def show(number: int, run: str | None, runs: Path, as_json: bool) -> None:
    """Show one ROUND: why it was kept or not, its measurements, its patch."""
    from vibeserve_loop.commands.views import show_round
    from vibeserve_loop.ledger.runs import find_run

    show_round(find_run(run, runs), number, as_json=as_json)


@cli.command(name="list")
@JSON
def list_names(as_json: bool) -> None:
    """List targets, agents, policies, sandboxes and skills."""
    from vibeserve_loop.commands.views import show_names

    show_names(as_json=as_json)


@cli.command()
@click.argument("target")
@click.argument("candidates", nargs=-1)
@PROFILE
@DEPTH
@GATE
@RUNS
@JSON
def compare(runs: Path, as_json: bool, gate_command: str, candidates: tuple[str, ...], **asked: object) -> None:
    """Compare CANDIDATES with the first of them: folders, baselines' names, RUN:ROUND or RUN:COMMIT."""
    from vibeserve_loop.commands.compare import Question, names_of
    from vibeserve_loop.commands.compare import compare as do_compare

    command = command_of(gate_command)
    question = Question(names=names_of(candidates), runs=runs, gate_command=command, **asked)  # type: ignore[arg-type]
    do_compare(question, as_json=as_json)


@cli.command()
@click.argument("target")
@PROFILE
@GATE
@JSON
def validate(target: str, profile: str, gate_command: str, as_json: bool) -> ExitCode:
    """Test the contract of TARGET: does its starter pass, and do built-in faults fail?"""
    from vibeserve_loop.validation.validate import validate as do_validate

    return do_validate(target, profile, command_of(gate_command), as_json=as_json)


@cli.command()
@JSON
def doctor(as_json: bool) -> ExitCode:
    """Look at this machine: what works, what is missing, and how to get it."""
    from vibeserve_loop.commands.doctor import examine

    return examine(as_json=as_json)


@cli.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path("targets"), show_default=True, help="Its parent.")
@click.option("--like", default="tiny_llama", show_default=True, metavar="TARGET", help="What it begins as a copy of.")
def init(name: str, into: Path, like: str) -> None:
    """Make a new target called NAME, ready to be changed."""
    from vibeserve_loop.commands.scaffold import first_profile, scaffold

    folder = scaffold(name, into, like)
    profile = first_profile(folder)
    small = f" --profile {profile}" if profile != "full" else ""
    click.echo(f"{folder} is made; check it with: vibeserve-loop validate {folder}{small}")


@cli.command()
@click.argument("run")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@RUNS
def export(run: str, folder: Path, runs: Path) -> None:
    """Write the winner of RUN, with its evidence, to DIR."""
    from vibeserve_loop.commands.export import export as do_export
    from vibeserve_loop.ledger.runs import find_run

    done = do_export(find_run(run, runs), folder)
    click.echo(f"{done} holds the winner; its REPRODUCE.md says how to serve and judge it")


@cli.command()
@click.argument("run", required=False)
@click.option("--target", default="", help="Judge under this target instead of the run's own, as it is now.")
@DEPTH
@GATE
@RUNS
@JSON
def regrade(run: str | None, runs: Path, gate_command: str, as_json: bool, **asked: str) -> ExitCode:
    """Judge the stored candidates of RUN again, under the suite as it is now; no agent is asked."""
    from vibeserve_loop.commands.regrade import regrade as do_regrade
    from vibeserve_loop.ledger.runs import find_run

    command = command_of(gate_command)
    return do_regrade(find_run(run, runs), asked["target"], asked["depth"], command, as_json=as_json)


@cli.group()
def config() -> None:
    """See where the values of options come from."""


@config.command(name="show")
@JSON
@click.pass_context
def config_show(ctx: click.Context, as_json: bool) -> None:
    """Print every option's value and its source: environment over .env over vibeserve.toml over the default."""
    import json
    import os

    from vibeserve_loop.commands.config import JOINED
    from vibeserve_loop.commands.config import show as shown

    for found in shown(cli, Path.cwd(), os.environ, ctx.meta.get(JOINED, ())):
        name = f"{found.command}.{found.option}" if found.command != "environment" else found.option
        if as_json:
            click.echo(json.dumps({"name": name, "value": found.value, "origin": found.origin}))
        else:
            value = "; ".join(map(str, found.value)) if isinstance(found.value, (list, tuple)) else found.value
            click.echo(f"{name} = {'-' if value is None else value}  ({found.origin})")


cli.add_command(ctl)


def command_of(text: str) -> tuple[str, ...]:
    """The words that start the gate; none is the gate's own."""
    return tuple(words_of("--gate-command", text))


for _name, _module, _text in (
    ("mcp", "broker.mcp_server", "Serve the issue board and the gate to agents by the Model Context Protocol."),
    ("submit", "commands.submit", "Hand in edits to a run that waits for them."),
    ("report", "commands.html_report", "Write one HTML page about a run."),
):
    cli.add_command(Elsewhere(_name, f"vibeserve_loop.{_module}", _text))


def main() -> None:
    """Run the command and leave with the contract's exit code; every expected failure is one line."""
    for word in sys.argv[1:]:
        if not word.isprintable() and any("\udc80" <= letter <= "\udcff" for letter in word):
            _fail(f"{word!a} is not UTF-8 text, which is all that a run's files hold", ExitCode.USAGE)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        code = ExitCode.USAGE
    except click.ClickException as error:
        _fail(error.format_message(), ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", ExitCode.INTERRUPTED)
    except VibeserveError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        _fail(f"the machine refused{where}: {error.strerror}; mend that and resume", ExitCode.INFRASTRUCTURE)
    sys.exit(int(code or 0))


def _fail(message: str, code: ExitCode) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(int(code))
