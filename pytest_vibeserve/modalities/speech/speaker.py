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
CLOSING_S = 1.0


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
    """One stream, from its start to the server's farewell or the client's.

    What is said leaves when it is due, whatever the server does; what the server does not take waits, and how long is
    told beside.
    """

    def __init__(self, session: Any, stream: dict[str, Any], audio: bytes, start: float) -> None:
        """`session` is this stream's alone, and `start` the traffic's start on the monotonic clock."""
        self._session, self._stream, self._audio, self._zero = session, stream, audio, start
        self._said: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._sent: list[float] = []
        self._taken: list[float] = []
        self._events: list[tuple[float, str]] = []
        self._opened = self._finalised = 0.0
        self._began = 0.0

    async def run(self) -> dict[str, Any]:
        """Speak and listen at the same time."""
        import aiohttp

        await asyncio.sleep(self._stream["start_s"])
        self._began = self._now()
        seconds = len(self._audio) / 2 / self._stream["rate"] + self._stream["timeout_s"]
        talking = asyncio.create_task(self._talk())
        try:
            async with asyncio.timeout(seconds):
                error = await self._held(talking)
        except TimeoutError:
            words = "no final transcript" if self._opened else "the stream was not opened"
            error = f"{words} within {self._stream['timeout_s']:g} s of the last frame"
        except (aiohttp.ClientError, OSError) as fault:
            error = f"connection failed: {fault}"
        talking.cancel()
        # A server that does not read would never let the connection close in order.
        await asyncio.wait([asyncio.create_task(self._session.close())], timeout=CLOSING_S)
        return {
            "id": self._stream["id"], "error": error, "start_s": self._began, "sent_s": self._sent,
            "finalised_s": self._finalised, "events": self._events, "done_s": self._now(),
            "opened_s": self._opened, "taken_s": self._taken,
        }  # fmt: skip

    async def _held(self, talking: asyncio.Task[None]) -> str:
        """Open the line and hold it; what was wrong, in words."""
        socket = await self._session.ws_connect(PATH, max_msg_size=LARGEST_EVENT)
        self._opened = self._now()
        delivering = asyncio.create_task(self._deliver(socket))
        listening = asyncio.create_task(self._listen(socket))
        leaves, farewell = self._stream["leaves_after"], self._stream["farewell"]
        try:
            if leaves:
                await talking
            error = await (delivering if leaves else listening)
        finally:
            delivering.cancel()
            listening.cancel()
            await asyncio.gather(delivering, listening, return_exceptions=True)
        # Who leaves without a farewell is gone as if the line went dead.
        if not leaves or farewell:
            await socket.close()
        return error

    async def _talk(self) -> None:
        """Say each frame as soon as its last sample is due; whether anybody takes it is no matter here."""
        stream = self._stream
        if stream["opening"]:
            self._said.put_nowait(stream["opening"])
        for place in range(0, len(self._audio), stream["frame_bytes"]):
            frame = self._audio[place : place + stream["frame_bytes"]]
            due = self._began + (place + len(frame)) / 2 / stream["rate"]
            await asyncio.sleep(max(0.0, due - self._now()))
            self._sent.append(self._now())
            self._said.put_nowait(frame)
            if len(self._sent) == stream["leaves_after"]:
                self._said.put_nowait(None)
                return
        self._finalised = self._now()
        self._said.put_nowait('{"type":"finalize"}')

    async def _deliver(self, socket: Any) -> str:
        """Hand over what is said as fast as the server takes it, until there is no more to say."""
        while (said := await self._said.get()) is not None:
            if isinstance(said, str):
                await socket.send_str(said)
            else:
                await socket.send_bytes(said)
                self._taken.append(self._now())
        return ""

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
