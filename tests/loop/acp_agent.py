"""An agent of our own that speaks the Agent Client Protocol, for what a real program would do only now and then.

`python acp_agent.py WAY`: a method of `Agent` below names what a turn does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import acp
from acp import schema

LOADING = ("repeats", "resumes")


class Agent:
    """Tells of no call and no token unless its way says so: both are optional in the protocol."""

    def __init__(self, way: str) -> None:
        self._way, self._folder = way, Path()
        self._client: Any = None

    def on_connect(self, conn: Any) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **rest: Any) -> schema.InitializeResponse:
        if self._way == "does_not_begin":
            await asyncio.sleep(4321)
        resume = schema.SessionResumeCapabilities() if self._way == "resumes" else None
        return schema.InitializeResponse(
            protocol_version=protocol_version,
            agent_capabilities=schema.AgentCapabilities(
                load_session=self._way in LOADING, session_capabilities=schema.SessionCapabilities(resume=resume)
            ),
        )

    async def new_session(self, cwd: str, **rest: Any) -> schema.NewSessionResponse:
        self._folder = Path(cwd)
        return schema.NewSessionResponse(session_id="one")

    async def load_session(self, cwd: str, session_id: str, **rest: Any) -> schema.LoadSessionResponse:
        """Tell the whole history first, as the protocol wants it."""
        assert self._way != "resumes", "it asked to be resumed"
        self._folder = Path(cwd)
        for number in range(300):
            await self._tell(acp.update_agent_message_text("old words " * 200))
            await self._call(f"old-{number}", {"command": "the same"})
        return schema.LoadSessionResponse()

    async def resume_session(self, cwd: str, session_id: str, **rest: Any) -> schema.ResumeSessionResponse:
        self._folder = Path(cwd)
        return schema.ResumeSessionResponse()

    async def prompt(self, session_id: str, prompt: list[Any], **rest: Any) -> schema.PromptResponse:
        stop = await getattr(self, self._way)()
        return schema.PromptResponse(stop_reason=stop or "end_turn")

    async def minimal(self) -> None:
        self._edit("250\n" if (self._folder / "speed").read_text() == "100" else "251\n")
        await self._say("I made it faster.")

    resumes = minimal

    async def repeats(self) -> None:
        """Ask again, in a session that is taken up, for what was asked before."""
        for number in range(3):
            await self._call(f"new-{number}", {"command": "the same"})
        await self.minimal()

    async def says_nothing(self) -> None:
        self._edit("250\n")

    async def changes_nothing(self) -> None:
        await self._say("There is nothing to do.")

    async def is_limited(self) -> None:
        self._edit("250\n")
        await self._say("API Error: 429 Too many requests")

    async def reads(self) -> None:
        await self._call("one", {"path": "speed"})
        await self._say("There is nothing to do.")

    async def stops_early(self) -> str:
        await self.minimal()
        return "max_turn_requests"

    async def floods(self) -> None:
        for _ in range(1000):
            await self._say("words without an end " * 100)

    async def hangs(self) -> None:
        self._edit("999")
        await asyncio.sleep(4321)

    async def pays(self) -> None:
        """Tell what it has paid; in its first life it never comes to an end."""
        cost = schema.Cost(amount=2.0, currency="USD")
        await self._tell(schema.UsageUpdate(session_update="usage_update", used=30, size=1000, cost=cost))
        lived = Path(sys.argv[2])
        if not lived.exists():
            lived.touch()
            await asyncio.sleep(4321)
        await self.minimal()

    async def counts_wildly(self) -> None:
        """Tell a cost that is no number, and say half a character."""
        cost = (
            '{"sessionUpdate": "usage_update", "used": 30, "size": 1000, "cost": {"amount": 1e999, "currency": "USD"}}'
        )
        half = '{"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "faster \\ud83d"}}'
        for update in (cost, half):
            params = f'{{"sessionId": "one", "update": {update}}}'
            sys.stdout.write(f'{{"jsonrpc": "2.0", "method": "session/update", "params": {params}}}\n')
        sys.stdout.flush()
        self._edit("250\n")

    async def dies(self) -> None:
        self._edit("999")
        sys.stderr.write("out of ideas\n")
        sys.stderr.flush()
        os._exit(7)

    async def writes_garbage(self) -> None:
        self._edit("999")
        while True:
            sys.stdout.write("neither JSON nor sense\n")
            sys.stdout.flush()
            await asyncio.sleep(0)

    async def answers_nonsense(self) -> None:
        """Answer the prompt with what no answer can be."""
        self._edit("999")
        for number in range(8):
            sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {number}, "result": {{"stopReason": [1, 2]}}}}\n')
        sys.stdout.flush()
        await asyncio.sleep(4321)

    async def shouts_its_key(self) -> None:
        sys.stderr.write(f"refused: {_key()}\n")
        sys.stderr.flush()
        raise acp.RequestError.internal_error({"details": f"Authorization: Bearer {_key()} is not known"})

    async def shouts_without_end(self) -> None:
        for _ in range(12):
            sys.stderr.write(f"{_key()} " + "more words " * 100_000)
        sys.stderr.write("and the last")
        sys.stderr.flush()
        raise acp.RequestError.internal_error({"details": "enough"})

    async def writes_its_key(self) -> None:
        self._edit(f"250 {_key()}\n")
        await self._say(f"I wrote {_key()} down.")

    async def looks_round(self) -> None:
        """Write down what can be seen and reached from where it runs."""
        seen = [place for place in sys.argv[2].split(",") if _is_there(place)]
        (self._folder / "seen").write_text("\n".join(seen))
        await self.minimal()

    def _edit(self, text: str) -> None:
        (self._folder / "speed").write_text(text)

    async def _say(self, text: str) -> None:
        await self._tell(acp.update_agent_message_text(text))

    async def _call(self, name: str, given: dict[str, Any]) -> None:
        await self._tell(acp.start_tool_call(name, "a call", raw_input=given))
        await self._tell(acp.update_tool_call(name, status="completed"))

    async def _tell(self, update: Any) -> None:
        await self._client.session_update(session_id="one", update=update)


def _is_there(place: str) -> bool:
    """Whether a file holds something, or somebody answers at an endpoint."""
    if not place.startswith("tcp://"):
        return Path(place).exists() and (Path(place).is_dir() or Path(place).read_bytes() != b"")
    host, _, port = place.removeprefix("tcp://").partition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError:
        return False
    return True


def _key() -> str:
    return os.environ.get("LAB_API_KEY", "none")


if __name__ == "__main__":
    asyncio.run(acp.run_agent(Agent(sys.argv[1]), use_unstable_protocol=True))
