"""One session of a program without the Agent Client Protocol: a prompt on its standard input, a line of JSON an event.

For what the protocol lacks (a spending cap that the program itself keeps) and for programs without their adapter.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from vibeserve_loop.cli_agents.event_lines import READERS, Heard, Reader
from vibeserve_loop.cli_agents.leashed import last_words, leashed
from vibeserve_loop.cli_agents.talk import Start, Talk, ended, limit_is_told
from vibeserve_loop.desk.endings import AgentStopped, Session
from vibeserve_loop.roles import Brief

MOST_STRAYS = 200


def heard(name: str, start: Start, brief: Brief, talk: Talk) -> Session:
    """Carry one session to its end; one that must be stopped is killed and leaves no edit behind."""
    stopped, found = None, Heard()
    try:
        asyncio.run(_limited(READERS[name], start, brief.text, talk, found))
    except AgentStopped as caught:
        stopped = caught
    _charge(talk, found)
    return ended(talk, found.text, stopped)


async def _limited(reader: Reader, start: Start, words: str, talk: Talk, found: Heard) -> None:
    async with leashed(start.command, start.spot) as process:
        try:
            await asyncio.wait_for(_listened(reader, process, words, talk, found), talk.account.left_s())
            code = await process.wait()
        except TimeoutError:
            raise AgentStopped("hung", f"it did not end within {talk.account.limits.minutes:g} minutes") from None
        except ConnectionError:
            raise AgentStopped("died", f"it took no prompt: {last_words(start.spot)}") from None
        except ValueError as error:
            raise AgentStopped("flooded", f"it wrote a line without an end: {str(error)[:200]}") from None
    said = f"{found.failed} {last_words(start.spot)}".strip()
    if found.capped:
        raise AgentStopped("budget", said or "it kept to the cap that it was given")
    if code != 0 or found.failed or not found.whole:
        raise AgentStopped("rate-limited" if limit_is_told(said) else "died", f"it ended with {code}: {said}"[:300])


async def _listened(reader: Reader, process: asyncio.subprocess.Process, words: str, talk: Talk, found: Heard) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(words.encode())
    await process.stdin.drain()
    process.stdin.close()
    strays = 0
    while line := await process.stdout.readline():
        event = _event(line)
        if event is None:
            strays += bool(line.strip())
            if strays > MOST_STRAYS:
                raise AgentStopped("garbage", f"it does not tell events: {line[:100].decode('utf-8', 'replace')}")
            continue
        talk.account.stream(len(line))
        before, spent = found.calls, (found.tokens, found.usd)
        reader(event, found)
        if spent != (found.tokens, found.usd):
            _charge(talk, found)
        talk.id = found.session or talk.id
        if found.calls > before:
            talk.account.streamed = 0
            talk.account.calls = found.calls
            talk.desk.log(f"called {found.call[:1000]}")
            _within(talk, found)


def _within(talk: Talk, found: Heard) -> None:
    """Hold what the program has told so far against the session's limits."""
    account = talk.account
    if found.calls > account.limits.turns:
        raise AgentStopped("looped", f"{found.calls} calls did not bring it to an end")
    account.called(found.call)
    tokens, limit = found.tokens.input + found.tokens.output, account.limits.tokens
    if limit is not None and tokens > limit:
        raise AgentStopped("budget", f"{tokens} tokens are spent of {limit}")
    usd, cap = account.usd if found.usd is None else found.usd, account.limits.usd
    if cap is not None and usd > cap:
        raise AgentStopped("budget", f"${usd:.4f} is spent of ${cap}")


def _charge(talk: Talk, found: Heard) -> None:
    account, tokens = talk.account, found.tokens
    account.input, account.output, account.cached = tokens.input, tokens.output, tokens.cache_read
    account.usd = account.price.usd(tokens) if account.price is not None else 0.0
    talk.usd = found.usd
    account.told(account.usd if found.usd is None else found.usd, account.input, account.output)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
