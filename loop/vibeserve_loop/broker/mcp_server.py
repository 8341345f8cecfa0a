"""The command `vibeserve-loop mcp`: the issue board and the gate as tools of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import click

from pytest_vibeserve.errors import UsageError, VibeserveError
from vibeserve_loop.broker.link import LONGEST_WAIT_S, Link, Ticket, link_of_environment, told
from vibeserve_loop.proposals import Item, State

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from vibeserve_loop.broker.lone import RunLink

    Way = Link | RunLink

Asked = ParamSpec("Asked")
Told = TypeVar("Told")
EXTRA = 'the library is missing: pip install "pytest-vibeserve[mcp]"'
ABOUT = (
    "The gate judges the workspace as it is when start_gate is called; its runs are counted. "
    f"No call takes longer than {LONGEST_WAIT_S:.0f} s: start, then ask for the status until it is done."
)


def server_for(link: Way) -> MCPServer:
    """The server for one session of a broker, or for a run; a refusal reaches the caller as a tool's error."""
    try:
        from mcp.server import MCPServer
    except ImportError as error:
        raise UsageError(f"mcp: {EXTRA} ({error})") from None
    server = MCPServer("vibeserve", instructions=ABOUT)
    _add_gate(server, link)
    _add_issues(server, link)
    _add_handover(server, link)
    return server


def _add_gate(server: MCPServer, link: Way) -> None:
    @server.tool()
    async def start_gate(depth: Literal["quick", "full"] = "quick") -> Ticket:
        """Ask the gate to judge the workspace as it is now; answers at once with a ticket."""
        return await _asked(link.start, depth)

    @server.tool()
    async def gate_status(ticket: str, wait_s: float = 30.0) -> Ticket:
        """Where a ticket stands, after at most `wait_s` (45 at most) seconds."""
        return await _asked(link.status, ticket, wait_s)

    @server.tool()
    async def gate_verdict(ticket: str) -> str:
        """The verdict of a ticket in words: outcome, what failed, measurements, hints."""
        return told(await _asked(link.status, ticket, 0.0))


def _add_issues(server: MCPServer, link: Way) -> None:
    @server.tool()
    async def list_issues(state: State | Literal[""] = "") -> list[Item]:
        """The backlog of optimisation issues, all or those in one state."""
        return list(await _asked(link.issues, "", state))

    @server.tool()
    async def get_issue(name: str) -> Item:
        """One issue with what rounds have shown of it."""
        return await _asked(link.issue, name)

    @server.tool()
    async def search_issues(text: str) -> list[Item]:
        """The issues that hold every word of the text."""
        return list(await _asked(link.issues, text, ""))

    @server.tool()
    async def create_issue(name: str, title: str, mechanism: str = "", weight: float = 0.0) -> Item:
        """File an issue: a short unique name, what should move, and why it should."""
        item = Item(id=name, title=title, mechanism=mechanism, weight=weight, source="person")
        return await _asked(link.create, item)

    @server.tool()
    async def update_issue(name: str, state: State | Literal[""] = "", reason: str = "") -> Item:
        """Move an issue to a state; parking, blocking or abandoning needs a reason."""
        return await _asked(link.update, name, state, reason)


def _add_handover(server: MCPServer, link: Way) -> None:
    @server.tool()
    async def read_brief() -> str:
        """The brief of the round that waits for somebody's edits, and where the code lies."""
        return await _asked(link.brief)

    @server.tool()
    async def submit_work(summary: str) -> str:
        """Hand in the edits that were made in the workspace, with a sentence on what they do."""
        return await _asked(link.submit, summary)


async def _asked(ask: Callable[Asked, Told], *words: Asked.args, **named: Asked.kwargs) -> Told:
    """Ask the broker without holding up other calls."""
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        return await asyncio.to_thread(ask, *words, **named)
    except VibeserveError as error:
        raise ToolError(str(error)) from None


@contextlib.contextmanager
def link_for(run: str | None, runs: Path) -> Iterator[Way]:
    """The link of the environment, which is one session's; else a run's, for as long as this lasts."""
    given = link_of_environment()
    if given is not None:
        yield given
        return
    from vibeserve_loop.broker.lone import RunLink
    from vibeserve_loop.ledger.runs import find_run

    with RunLink(find_run(run, runs)) as link:
        yield link


@click.command(name="mcp")
@click.argument("run", required=False)
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of runs.")
@click.option("--http", "port", type=click.IntRange(1, 65535), help="Serve on this port of 127.0.0.1, not on stdio.")
def mcp(run: str | None, runs: Path, port: int | None) -> None:
    """Serve the issue board and the gate of RUN (default: the latest) to agents, over the Model Context Protocol."""
    with link_for(run, runs) as link:
        server = server_for(link)
        if port is None:
            server.run("stdio")
        else:
            click.echo(f"http://127.0.0.1:{port}/mcp", err=True)
            server.run("streamable-http", host="127.0.0.1", port=port)


if __name__ == "__main__":
    try:
        mcp(standalone_mode=False)
    except VibeserveError as failure:
        sys.exit(f"error: {failure}")
