"""The process that speaks: an order on standard input, WebSocket streams in real time, JSON on standard output."""

from __future__ import annotations

import asyncio
import os
import sys
from time import monotonic, process_time
from typing import Any

import orjson

from pytest_vibeserve.load_generator.namespace import enter_network_namespace
from pytest_vibeserve.load_generator.vitals import Vitals

PATH = "/v1/audio/stream"
LARGEST_EVENT = 2**20
MOST_EVENTS = 20_000


def main() -> None:
    """Speak what standard input orders, write what was heard, and end."""
    head, _, audio = sys.stdin.buffer.read().partition(b"\n")
    order = orjson.loads(head)
    if order["netns_pid"] is not None:
        enter_network_namespace(order["netns_pid"])
    began = process_time()
    found, lag_s = asyncio.run(_speak_all(order, audio))
    sys.stdout.buffer.write(orjson.dumps({"streams": found, "lag_s": lag_s, "cpu_s": process_time() - began}))
    sys.stdout.buffer.flush()
    os._exit(0)


async def _speak_all(order: dict[str, Any], audio: bytes) -> tuple[list[dict[str, Any]], float]:
    """What came of each stream, and how late the loop ran (p99)."""
    import aiohttp

    host = f"[{order['host']}]" if ":" in order["host"] else order["host"]
    speakers, place = [], 0
    vitals = Vitals(asyncio.get_running_loop(), os.getppid())
    start = monotonic()
    for stream in order["streams"]:
        session = aiohttp.ClientSession(f"http://{host}:{order['port']}")
        speakers.append(Speaker(session, stream, audio[place : place + stream["bytes"]], start).run())
        place += stream["bytes"]
    vitals.start()
    try:
        found = list(await asyncio.gather(*speakers))
    finally:
        health = vitals.stop(())
    return found, health.loop_lag_p99_s


class Speaker:
    """One stream, from its start to the server's farewell or the client's."""

    def __init__(self, session: Any, stream: dict[str, Any], audio: bytes, start: float) -> None:
        """`session` is this stream's alone, and `start` the traffic's start on the monotonic clock."""
        self._session, self._stream, self._audio, self._zero = session, stream, audio, start
        self._sent: list[float] = []
        self._events: list[tuple[float, str]] = []
        self._finalised = 0.0
        self._began = 0.0

    async def run(self) -> dict[str, Any]:
        """Speak and listen at the same time."""
        import aiohttp

        await asyncio.sleep(self._stream["start_s"])
        self._began = self._now()
        seconds = len(self._audio) / 2 / self._stream["rate"] + self._stream["timeout_s"]
        try:
            async with (
                asyncio.timeout(seconds),
                self._session as session,
                session.ws_connect(PATH, max_msg_size=LARGEST_EVENT) as socket,
            ):
                self._began = self._now()
                error = await (self._visit(socket) if self._stream["leaves_after"] else self._stay(socket))
        except TimeoutError:
            error = f"no final transcript within {self._stream['timeout_s']:g} s of the last frame"
        except (aiohttp.ClientError, OSError) as fault:
            error = f"connection failed: {fault}"
        return {
            "id": self._stream["id"], "error": error, "start_s": self._began, "sent_s": self._sent,
            "finalised_s": self._finalised, "events": self._events, "done_s": self._now(),
        }  # fmt: skip

    async def _stay(self, socket: Any) -> str:
        talking = asyncio.create_task(self._talk(socket))
        error = await self._listen(socket)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        return error

    async def _visit(self, socket: Any) -> str:
        """Go after some frames: with a farewell, or as if the line went dead."""
        listening = asyncio.create_task(self._listen(socket))
        try:
            await self._talk(socket)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await (socket.close() if self._stream["farewell"] else self._session.close())
        return ""

    async def _talk(self, socket: Any) -> None:
        stream = self._stream
        if stream["opening"]:
            await socket.send_str(stream["opening"])
        for place in range(0, len(self._audio), stream["frame_bytes"]):
            frame = self._audio[place : place + stream["frame_bytes"]]
            due = self._began + (place + len(frame)) / 2 / stream["rate"]
            await asyncio.sleep(max(0.0, due - self._now()))
            await socket.send_bytes(frame)
            self._sent.append(self._now())
            if len(self._sent) == stream["leaves_after"]:
                return
        await socket.send_str('{"type":"finalize"}')
        self._finalised = self._now()

    async def _listen(self, socket: Any) -> str:
        """Take events until the server closes; what was wrong, in words."""
        async for message in socket:
            if message.type.name != "TEXT":
                return f"a message that is not text: {message.type.name}"
            self._events.append((self._now(), message.data))
            if len(self._events) > MOST_EVENTS:
                return f"more than {MOST_EVENTS} events"
        return "" if socket.close_code in (1000, 1001) else f"closed with code {socket.close_code}"

    def _now(self) -> float:
        return monotonic() - self._zero
