"""One session of a program over the Agent Client Protocol, from its start to its certain end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import acp
from acp import schema
from acp.exceptions import RequestError

from vibeserve_loop.broker.link import Link
from vibeserve_loop.cli_agents.client import LoopClient
from vibeserve_loop.cli_agents.leashed import LINE_BYTES, last_words, leashed, pumped
from vibeserve_loop.cli_agents.lenience import amount, table
from vibeserve_loop.cli_agents.talk import SERVER, Start, Talk, ended, limit_is_told, server_environment
from vibeserve_loop.desk.endings import AgentStopped, Ending, Session
from vibeserve_loop.desk.fingerprint import fingerprint
from vibeserve_loop.roles import Brief
from vibeserve_loop.tool_loop.prices import Tokens

START_S = 60.0
END_S = 10.0
Told = tuple[LoopClient, Any]
"""What a turn gave: the client that heard it, and the program's reply to the prompt."""
ENDINGS: dict[str, Ending] = {"max_turn_requests": "looped", "max_tokens": "budget"}


def spoken(start: Start, brief: Brief, talk: Talk) -> Session:
    """Carry one session to its end; one that must be stopped is killed and leaves no edit behind."""
    stopped, summary = None, ""
    before = fingerprint(talk.desk.folder)
    try:
        client, reply = asyncio.run(_limited(start, brief, talk))
        summary = client.text
        _ended(client, reply, talk, before)
    except AgentStopped as caught:
        stopped = caught
    return ended(talk, summary, stopped)


async def _limited(start: Start, brief: Brief, talk: Talk) -> Told:
    async with leashed(start.command, start.spot) as process:
        work: asyncio.Future[Told] = asyncio.ensure_future(_talked(process, start, brief, talk))
        end: asyncio.Future[int] = asyncio.ensure_future(process.wait())
        try:
            both: set[asyncio.Future[Any]] = {work, end}
            await asyncio.wait(both, timeout=talk.account.left_s(), return_when="FIRST_COMPLETED")
            if work.done():
                return work.result()
            if end.done():
                raise AgentStopped("died", f"it ended with {end.result()}: {last_words(start.spot)}")
            raise AgentStopped("hung", f"it did not end within {talk.account.limits.minutes:g} minutes")
        except RequestError as error:
            raise _cause(error, start) from None
        except ConnectionError:
            code = await asyncio.wait_for(end, END_S)
            raise AgentStopped("died", f"it ended with {code}: {last_words(start.spot)}") from None
        except ValueError as error:
            raise AgentStopped("garbage", f"it does not keep to the protocol: {str(error)[:300]}") from None
        finally:
            work.cancel()
            end.cancel()
            await asyncio.gather(work, end, return_exceptions=True)


async def _talked(process: asyncio.subprocess.Process, start: Start, brief: Brief, talk: Talk) -> Told:
    client, lines = LoopClient(talk.desk, talk.account), asyncio.StreamReader(limit=LINE_BYTES)
    assert process.stdout is not None
    pump = asyncio.ensure_future(pumped(process.stdout, lines, client.stop))
    try:
        return await _prompted(
            acp.connect_to_agent(cast(acp.Client, client), process.stdin, lines), client, start, brief, talk
        )
    finally:
        pump.cancel()


async def _prompted(agent: Any, client: LoopClient, start: Start, brief: Brief, talk: Talk) -> Told:
    try:
        beginning: asyncio.Future[str] = asyncio.ensure_future(_begun(agent, start, talk))
        either: set[asyncio.Future[Any]] = {beginning, client.stopped}
        await asyncio.wait(either, timeout=START_S, return_when="FIRST_COMPLETED")
        if client.stopped.done():
            beginning.cancel()
            client.stopped.result()
        talk.id = await asyncio.wait_for(beginning, 0.1)
    except TimeoutError:
        raise AgentStopped("hung", f"it did not begin a session in {START_S:.0f} s: {last_words(start.spot)}") from None
    client.listening = True
    prompt = asyncio.ensure_future(agent.prompt(session_id=talk.id, prompt=[acp.text_block(brief.text)]))
    try:
        await asyncio.wait({prompt, client.stopped}, return_when="FIRST_COMPLETED")
        if client.stopped.done():
            client.stopped.result()
        reply = prompt.result()
    finally:
        prompt.cancel()
        talk.usd = client.usd if client.usd is not None else client.guessed_usd or None
        talk.account.input = client.guessed.input
    talk.usd = client.usd
    _charge(talk, reply)
    return client, reply


def _ended(client: LoopClient, reply: Any, talk: Talk, before: str) -> None:
    """Raise when the turn's end is no end of the work, whatever the program calls it.

    A program need not tell of calls or tokens; one that tells of neither has worked if it speaks and left an edit.
    """
    said = " ".join(client.text.split())[:300]
    limited = client.limited or limit_is_told(said)
    if not client.broken and not (talk.account.output or talk.account.calls):
        if not said:
            raise AgentStopped("died", "it ended without a word, a call or a token")
        if limited or fingerprint(talk.desk.folder) == before:
            why = f"it told of no call and no token, and changed nothing: {said}"
            raise AgentStopped("rate-limited" if limited else "died", said if limited else why)
    if client.broken:
        raise AgentStopped("rate-limited" if limited else "died", said or "it says that it broke down")
    if reply.stop_reason != "end_turn":
        raise AgentStopped(ENDINGS.get(reply.stop_reason, "died"), f"it stopped: {reply.stop_reason}")


async def _begun(agent: Any, start: Start, talk: Talk) -> str:
    """Greet, take up the old session or begin one, and set the mode; the session's name."""
    nothing = schema.ClientCapabilities(fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=False))
    about = schema.Implementation(name="vibeserve-loop", version="1")
    met = await agent.initialize(acp.PROTOCOL_VERSION, client_capabilities=nothing, client_info=about)
    folder, servers = str(talk.desk.folder.resolve()), _servers(talk.link)
    take_up = _way_back(agent, met.agent_capabilities) if start.resume else None
    if take_up is not None:
        try:
            await take_up(cwd=folder, session_id=start.resume, mcp_servers=servers)
        except RequestError as error:
            talk.desk.log(f"session {start.resume} cannot be taken up, another is begun: {error}")
        else:
            talk.desk.log(f"session {start.resume} is taken up again")
            return start.resume
    made = await agent.new_session(cwd=folder, mcp_servers=servers)
    modes = [mode.id for mode in made.modes.available_modes] if made.modes else []
    talk.desk.log(f"session {made.session_id}; modes: {', '.join(modes) or 'none'}")
    if start.mode in modes:
        await agent.set_session_mode(session_id=made.session_id, mode_id=start.mode)
    return str(made.session_id)


def _way_back(agent: Any, offered: schema.AgentCapabilities | None) -> Callable[..., Awaitable[Any]] | None:
    """How a session is taken up again: without its history where the program can, else with; None where it cannot."""
    if offered is None:
        return None
    if offered.session_capabilities and offered.session_capabilities.resume is not None:
        return cast(Callable[..., Awaitable[Any]], agent.resume_session)
    return cast(Callable[..., Awaitable[Any]], agent.load_session) if offered.load_session else None


def _servers(link: Link | None) -> list[schema.McpServerStdio]:
    if link is None:
        return []
    env = [schema.EnvVariable(name=name, value=value) for name, value in server_environment(link).items()]
    return [schema.McpServerStdio(name="vibeserve", command=sys.executable, args=list(SERVER), env=env)]


def _charge(talk: Talk, reply: Any) -> None:
    """Take what the program says that it used into the account; where it says nothing of dollars, the table does."""
    tokens, account = _tokens(reply), talk.account
    if tokens is None:
        talk.desk.log("it does not tell what it used")
        return
    account.input, account.output, account.cached = tokens.input, tokens.output, tokens.cache_read
    account.usd = account.price.usd(tokens) if account.price is not None else 0.0


def _tokens(reply: Any) -> Tokens | None:
    used = reply.usage
    if used is not None:
        read, write = amount(used.cached_read_tokens), amount(used.cached_write_tokens)
        output = amount(used.output_tokens) + amount(used.thought_tokens)
        return Tokens(amount(used.input_tokens) + read + write, output, read, write)
    count = table(table(table(reply.field_meta).get("quota")).get("token_count"))
    return Tokens(amount(count.get("input_tokens")), amount(count.get("output_tokens"))) if count else None


def _cause(error: RequestError, start: Start) -> AgentStopped:
    said = f"{error} {getattr(error, 'data', '') or ''}".strip()
    limited = limit_is_told(f"{said} {last_words(start.spot)}")
    return AgentStopped("rate-limited" if limited else "died", said[:300])
