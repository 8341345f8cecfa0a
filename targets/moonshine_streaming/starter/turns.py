"""Whose turn it is: one transcript at a time, of whatever a stream has heard by then."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from aiohttp import web

from hearing import Model, Transcript


class Turns:
    """One thread that computes; who asks first is served first."""

    def __init__(self, model: Model) -> None:
        """The model is the thread's alone."""
        self.model, self._thread = model, ThreadPoolExecutor(1)

    async def once(self, samples: np.ndarray, limit: int) -> Transcript:
        """The transcript of a clip."""
        return await self.run(lambda: self.model.transcribe(samples, limit))

    async def run(self, work: Callable[[], Transcript]) -> Transcript:
        """Work's result, when its turn has come."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class Stream:
    """What one client has said; a partial transcript is under way whenever there is something new."""

    def __init__(self, turns: Turns, socket: web.WebSocketResponse, limit: int) -> None:
        """Transcripts go to the socket, each of at most `limit` tokens."""
        self._turns, self._socket, self._limit = turns, socket, limit
        self._heard, self._working, self._ended = bytearray(), None, False

    def hear(self, frame: bytes) -> None:
        """Take a frame of 16 bit samples."""
        self._heard += frame
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._partials())

    async def finish(self) -> None:
        """Send the final transcript."""
        self._ended = True
        if self._working:
            await self._working
        await self._tell("final", await self._turns.once(self._samples(), self._limit))

    def leave(self) -> None:
        """Forget everything: the client has gone."""
        self._ended = True
        if self._working:
            self._working.cancel()

    async def _partials(self) -> None:
        known = 0
        while not self._ended and len(self._heard) > known:
            known = len(self._heard)
            transcript = await self._turns.run(self._now)
            if not self._ended:
                await self._tell("partial", transcript)

    def _now(self) -> Transcript:
        return self._turns.model.transcribe(self._samples(), self._limit)

    def _samples(self) -> np.ndarray:
        return np.frombuffer(bytes(self._heard[: len(self._heard) // 2 * 2]), dtype=np.int16)

    async def _tell(self, kind: str, said: Transcript) -> None:
        event = {"type": kind, "audio_s": said.audio_s, "text": said.text, "token_ids": said.ids}
        if kind == "final":
            event["finish_reason"] = said.finish_reason
        await self._socket.send_json(event)
