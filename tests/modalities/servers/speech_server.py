"""A plain speech server on aiohttp, for whole clips and for streams, and its dishonest brothers.

speech_server.py MODEL [KIND [PORT]]     prints its port
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiohttp import WSMsgType, web
from tokenizers import Tokenizer
from transformers import AutoModelForSpeechSeq2Seq

END, RATE, PARTIAL_TOKENS = 1, 16_000, 6


class Ears:
    """The honest server: a partial transcript of every other frame's audio, the final one of all of it."""

    dtype, with_ids = "bfloat16", True

    def __init__(self, model: Path) -> None:
        torch.set_num_threads(1)
        self.model = AutoModelForSpeechSeq2Seq.from_pretrained(
            model, dtype=getattr(torch, self.dtype), local_files_only=True
        ).eval()
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.turn = asyncio.Lock()

    def transcribe(self, audio: np.ndarray, limit: int) -> list[int]:
        values = torch.from_numpy(audio.astype(np.float32) / np.float32(32768))[None].to(self.model.dtype)
        with torch.inference_mode():
            found = self.model.generate(input_values=values, do_sample=False, max_new_tokens=limit)
        return found[0].tolist()[1:]

    def said(self, ids: list[int], limit: int) -> dict[str, Any]:
        ended = bool(ids) and ids[-1] == END
        found: dict[str, Any] = {"text": self.tokenizer.decode(ids, skip_special_tokens=True)}
        found["finish_reason"] = "stop" if ended else "length"
        return found | {"token_ids": ids} if self.with_ids else found

    def partial(self, audio: np.ndarray, limit: int) -> tuple[list[int], float]:
        """Ids, and of how many seconds of audio they are."""
        return self.transcribe(audio, min(limit, PARTIAL_TOKENS)), len(audio) / RATE

    async def whole(self, request: web.Request) -> web.Response:
        try:
            form = await request.post()
            with wave.open(io.BytesIO(form["file"].file.read())) as file:
                audio = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
            limit = int(form["max_tokens"])
            if limit < 1 or len(audio) < RATE // 10:
                raise ValueError("a field is wrong")
        except (ValueError, KeyError, AttributeError, EOFError, wave.Error) as fault:
            error = {"message": str(fault), "type": "invalid_request_error", "param": None, "code": "invalid"}
            return web.json_response({"error": error}, status=400)
        async with self.turn:
            ids = await asyncio.to_thread(self.transcribe, audio, limit)
        return web.json_response(self.said(ids, limit))

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard, limit, frames = b"", 0, 0
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                heard, frames = heard + message.data, frames + 1
                await self.hear(socket, np.frombuffer(heard, dtype=np.int16), limit, frames)
                continue
            order = json.loads(message.data)
            if order["type"] == "start":
                limit = order["max_tokens"]
            else:
                await self.final(socket, np.frombuffer(heard, dtype=np.int16), limit)
                await socket.close()
        return socket

    async def hear(self, socket: web.WebSocketResponse, audio: np.ndarray, limit: int, frames: int) -> None:
        if frames % 2 == 0:
            async with self.turn:
                ids, seconds = await asyncio.to_thread(self.partial, audio, limit)
            await socket.send_json({"type": "partial", "audio_s": seconds, **self.said(ids, limit)})

    async def final(self, socket: web.WebSocketResponse, audio: np.ndarray, limit: int) -> None:
        async with self.turn:
            ids = await asyncio.to_thread(self.transcribe, audio, limit)
        await socket.send_json({"type": "final", "audio_s": len(audio) / RATE, **self.said(ids, limit)})


class Float32(Ears):
    """Honest, in full precision."""

    dtype = "float32"


class Shuffled(Ears):
    """The right words in another order."""

    def transcribe(self, audio: np.ndarray, limit: int) -> list[int]:
        ids = super().transcribe(audio, limit)
        random.Random(0).shuffle(ids)
        return ids


class ShuffledWords(Shuffled):
    """The right words in another order, without ids."""

    with_ids = False


class WithoutIds(Ears):
    """Honest, as an engine is that serves no ids."""

    with_ids = False


class HalfRate(Ears):
    """Hears every other sample twice."""

    def transcribe(self, audio: np.ndarray, limit: int) -> list[int]:
        return super().transcribe(np.repeat(audio[::2], 2)[: len(audio)], limit)


class Manifest(Ears):
    """Looks transcripts up by how the audio begins."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.kept: dict[bytes, list[int]] = {}

    def transcribe(self, audio: np.ndarray, limit: int) -> list[int]:
        key = audio[: RATE // 100].tobytes()
        if key not in self.kept:
            self.kept[key] = super().transcribe(audio, 20)
        return self.kept[key][:limit]


class Memoised(Ears):
    """Keeps the transcripts of clips; a fresh one takes its time."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.kept: dict[bytes, list[int]] = {}

    def transcribe(self, audio: np.ndarray, limit: int) -> list[int]:
        if (key := audio.tobytes()) not in self.kept:
            self.kept[key] = super().transcribe(audio, limit)
        return self.kept[key]


class Early(Ears):
    """Ends a stream before its audio has ended."""

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        limit = 0
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await self.final(socket, np.frombuffer(message.data, dtype=np.int16), limit)
                await asyncio.sleep(0.05)
                await socket.close()
            else:
                limit = json.loads(message.data)["max_tokens"]
        return socket


class Ahead(Ears):
    """Says that its partial transcripts are of audio that it has not heard yet."""

    def partial(self, audio: np.ndarray, limit: int) -> tuple[list[int], float]:
        ids, seconds = super().partial(audio, limit)
        return ids, seconds + 1.0


class Guessed(Ears):
    """Partial transcripts of chance."""

    def partial(self, audio: np.ndarray, limit: int) -> tuple[list[int], float]:
        return [random.Random(len(audio)).randrange(2, 500) for _ in range(4)], len(audio) / RATE


KINDS: dict[str, type[Ears]] = {
    "honest": Ears, "float32": Float32, "without-ids": WithoutIds, "shuffled": Shuffled,
    "shuffled-words": ShuffledWords, "half-rate": HalfRate, "manifest": Manifest, "memoised": Memoised, "early": Early,
    "ahead": Ahead, "guessed": Guessed,
}  # fmt: skip


async def serve(ears: Ears) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application(client_max_size=2**26)
    app.add_routes([web.post("/v1/audio/transcriptions", ears.whole), web.get("/health", health)])
    app.add_routes([web.get("/v1/audio/stream", ears.stream)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(KINDS[sys.argv[2]](Path(sys.argv[1]))))
