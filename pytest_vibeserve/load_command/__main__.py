"""`python -m pytest_vibeserve.load_command URL`: one JSON object a level on standard output, notes on standard error.

Tokens are counted from the ids that the server sends, else from events.  What took for ever reads "Infinity", what
there is nothing of reads null.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from pytest_vibeserve.errors import ExitCode, UsageError, VibeserveError
from pytest_vibeserve.load_command import options
from pytest_vibeserve.load_command.answers import json_ready
from pytest_vibeserve.load_command.run import Run
from pytest_vibeserve.load_generator import ShardedLoadGenerator

COUNT = click.IntRange(min=1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("url")
@click.option("--concurrency", default="", help="Closed loop at these levels, such as 1,16,64.")
@click.option("--rate", default="", help="Open loop at these requests a second, such as 10,20.")
@click.option("--find-rate", nargs=2, type=float, metavar="LOW HIGH", help="Search the highest rate within --bound.")
@click.option("--bound", default="", metavar="METRIC=TIME", help='What the search keeps, such as "ttft_p99=200 ms".')
@click.option(
    "--probe-seconds", default="", metavar="TIME", help="Least time of a probe (default: 20 bounds, 10-60 s)."
)
@click.option("--slo", multiple=True, metavar="LATENCY=TIME", help='For goodput, such as "ttft=200 ms".')
@click.option("--arrival", default="poisson", show_default=True, help="constant, poisson or gamma.")
@click.option("--burstiness", default=1.0, show_default=True, help="Shape of gamma arrivals; less is burstier.")
@click.option("--most-in-flight", type=COUNT, help="Cap of an open loop or a trace; what waits is queueing.")
@click.option("--requests", type=COUNT, help="Requests at each level, turns counted (default: 64; of a trace all).")
@click.option("--words", default=16, type=COUNT, show_default=True, help="Random words in a prompt.")
@click.option("--tokens", default=64, type=COUNT, show_default=True, help="Tokens to ask for.")
@click.option("--turns", nargs=2, type=COUNT, metavar="LEAST MOST", help="Sessions of so many turns, as chats.")
@click.option("--think", default="0 s", metavar="TIME", help="Pause between an answer and the next turn.")
@click.option("--trace", type=click.Path(path_type=Path), help="Replay Mooncake's JSONL, or ShareGPT's conversations.")
@click.option("--speedup", default=1.0, show_default=True, help="How much faster a trace is replayed.")
@click.option("--save-trace", type=click.Path(path_type=Path), help="Write what one level sent as Mooncake's JSONL.")
@click.option("--target", help="Send requests of this target: chats, clips, images.")
@click.option("--profile", default="full", show_default=True, help="The target's profile.")
@click.option("--streams", default="", help="WebSocket audio streams at once, such as 1,4, of a --target of speech.")
@click.option(
    "--timeout", default="60 s", show_default=True, metavar="TIME", help="A request without an answer failed."
)
@click.option("--chat", is_flag=True, help="Use /v1/chat/completions.")
@click.option("--model", default="", help="The model's name, where the server wants one.")
@click.option("--processes", default=1, show_default=True, help="Client processes.")
@click.option("--pin", is_flag=True, help="Keep each client process on a core of its own, the last ones (Linux).")
@click.option("--seed", type=int, help="Of prompts and arrivals (default: another one each time, which is told).")
@click.pass_context
def load(context: click.Context, /, url: str, **asked: Any) -> None:
    """Load the server at URL and say what it took.

    URL is http://HOST:PORT, with what stands before /v1 where something does.
    """
    given = {name for name in asked if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    options.check_together(given)
    seed = secrets.randbelow(1 << 32) if asked["seed"] is None else asked["seed"]
    run = Run.of(options.place(url), asked, given, random.Random(f"load/{seed}"))
    cores = _cores(asked["processes"]) if asked["pin"] else ()
    place = run.place
    with ShardedLoadGenerator(place.host, place.port, processes=asked["processes"], cores=cores) as client:
        for told in run.levels(client, _note):
            _say({**told, "seed": seed})


def main() -> None:
    """Run the command and leave with the contract's exit codes."""
    try:
        load.main(standalone_mode=False)
    except click.ClickException as error:
        sys.exit(_failed(error.format_message(), ExitCode.USAGE))
    except VibeserveError as error:
        sys.exit(_failed(str(error), error.exit_code))


def _cores(processes: int) -> Sequence[int]:
    """The last cores that this process may use, one for each client process; one at least is left to others."""
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("--pin needs Linux: leave it out")
    allowed = sorted(os.sched_getaffinity(0))
    if not 0 < processes < len(allowed):
        raise UsageError(
            f"--pin keeps {processes} of {len(allowed)} cores for the client: leave it out, or ask for fewer"
        )
    return allowed[-processes:]


def _say(told: dict[str, object]) -> None:
    sys.stdout.write(orjson.dumps(json_ready(told)).decode() + "\n")
    sys.stdout.flush()


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _failed(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"error: {message}\n")
    return int(code)


if __name__ == "__main__":
    main()
