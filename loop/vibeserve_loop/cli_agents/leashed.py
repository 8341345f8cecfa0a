"""A program that is spoken to while it runs, and that is gone with all its children when its block is left."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from vibeserve_loop.desk.endings import AgentStopped
from vibeserve_loop.desk.secrecy import tail_of
from vibeserve_loop.machine.processes import LARGEST_FILE_GIB, TETHER

GRACE_S = "2"
LINE_BYTES = 64 * 2**20
KEPT_BYTES = 4_000
MOST_STRAYS = 200


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a program runs: folder, whole environment, the file that gets its standard error, and its cores if any."""

    folder: Path
    environment: Mapping[str, str]
    errors: Path
    cores: tuple[int, ...] = ()


@asynccontextmanager
async def leashed(command: tuple[str, ...], spot: Spot) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the command with pipes to talk through; at the end it is killed, whatever it is doing."""
    lifeline, held = os.pipe()
    pinned = ("--cores", ",".join(map(str, spot.cores))) if spot.cores else ()
    with spot.errors.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-B", str(TETHER), "--lifeline", str(lifeline), "--grace", GRACE_S,
              "--file", str(int(LARGEST_FILE_GIB * 2**30)), *pinned, *command),
            cwd=spot.folder, env=dict(spot.environment), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=errors, pass_fds=(lifeline,), start_new_session=True,
            limit=LINE_BYTES,
        )  # fmt: skip
    os.close(lifeline)
    try:
        yield process
    finally:
        os.close(held)
        await asyncio.shield(process.wait())


async def pumped(
    source: asyncio.StreamReader, into: asyncio.StreamReader, stop: Callable[[AgentStopped], None]
) -> None:
    """Pass on the lines that may be messages; a program that says too much else is stopped."""
    strays = 0
    try:
        while line := await source.readline():
            if line.startswith(b"{"):
                into.feed_data(line)
            elif line.strip():
                strays += 1
            if strays > MOST_STRAYS:
                said = line[:100].decode("utf-8", "replace").strip()
                stop(AgentStopped("garbage", f"it does not speak the protocol: {said}"))
                return
    except ValueError:
        stop(AgentStopped("flooded", f"it wrote one line of more than {LINE_BYTES >> 20} MiB"))
        return
    into.feed_eof()


def last_words(spot: Spot) -> str:
    """The end of what the program wrote to its standard error, in one line."""
    return " ".join(tail_of(spot.errors, KEPT_BYTES).decode("utf-8", "replace").split())[-300:]
