"""Whose turn it is: everybody's who has said something new, all together."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from aiohttp import web

from hearing import Memory, Model, Transcript


class Turns:
    """One thread that computes; whatever has come in while it did is its next piece of work."""

    def __init__(self, model: Model) -> None:
        """The model is the thread's alone."""
        self.model, self._thread = model, ThreadPoolExecutor(1)
        self._waiting: list[Stream] = []
        self._working: asyncio.Task[None] | None = None

    async def once(self, samples: np.ndarray, limit: int) -> Transcript:
        """The transcript of a clip."""
        stream = Stream(self, None, limit)
        stream.hear(samples.tobytes())
        await stream.told.wait()
        assert stream.last is not None
        return stream.last

    def want(self, stream: "Stream") -> None:
        """Ask for a transcript of what a stream has said by the time of its turn."""
        if stream not in self._waiting:
            self._waiting.append(stream)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            turn, self._waiting = self._waiting, []
            spoken = [(stream, stream.taken()) for stream in turn if not stream.gone]
            if spoken:
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._computed, spoken)
                for (stream, _), transcript in zip(spoken, found, strict=True):
                    await stream.take(transcript)

    def _computed(self, spoken: list[tuple["Stream", np.ndarray]]) -> list[Transcript]:
        for stream, samples in spoken:
            self.model.hear(stream.memory, samples)
        return self.model.transcripts([s.memory for s, _ in spoken], [s.limit for s, _ in spoken])


class Stream:
    """What one client has said; without a socket it is a whole clip."""

    def __init__(self, turns: Turns, socket: web.WebSocketResponse | None, limit: int) -> None:
        """Transcripts go to the socket, each of at most `limit` tokens."""
        self._turns, self._socket, self.limit = turns, socket, limit
        self.memory: Memory = turns.model.begin()
        self.last: Transcript | None = None
        self.told, self.gone = asyncio.Event(), False
        self._new, self._heard, self._ending = bytearray(), 0, False

    def hear(self, frame: bytes) -> None:
        """Take a frame of 16 bit samples."""
        self._new += frame
        self._heard += len(frame)
        self.told.clear()
        self._turns.want(self)

    def taken(self) -> np.ndarray:
        """The samples that have come since the last turn."""
        whole = len(self._new) // 2 * 2
        samples = np.frombuffer(bytes(self._new[:whole]), dtype=np.int16)
        del self._new[:whole]
        return samples

    async def take(self, transcript: Transcript) -> None:
        """A transcript of all that was taken."""
        self.last = transcript
        if self._socket is not None and not self._ending and not self.gone:
            try:
                await self._tell("partial", transcript)
            except ConnectionError:
                self.gone = True
        if len(self._new) < 2:
            self.told.set()

    async def finish(self) -> None:
        """Send the final transcript: the last one, where nothing was said since."""
        self._ending = True
        await self.told.wait()
        assert self.last is not None
        await self._tell("final", self.last)

    def leave(self) -> None:
        """Forget everything: the client has gone."""
        self.gone = True

    async def _tell(self, kind: str, said: Transcript) -> None:
        event = {"type": kind, "audio_s": said.audio_s, "text": said.text, "token_ids": said.ids}
        if kind == "final":
            event["finish_reason"] = said.finish_reason
        assert self._socket is not None
        await self._socket.send_json(event)
