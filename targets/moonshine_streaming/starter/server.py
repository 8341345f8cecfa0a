"""The HTTP server: health, whole clips, and WebSocket streams."""

import argparse
import io
import json
import wave
from pathlib import Path

import numpy as np
from aiohttp import WSMsgType, web

from hearing import Model, Transcript
from turns import Stream, Turns

LARGEST_CLIP = 2**27
LONGEST = 4096
NO_AUDIO = "the file is no WAV of 16 bits, one channel and 16,000 samples a second, or shorter than a tenth of a second"


class Service:
    """Answers the routes; every stream waits for its turn at the one model."""

    def __init__(self, folder: Path) -> None:
        """Load the model; afterwards audio can be heard."""
        self._turns = Turns(Model(folder))

    async def health(self, _: web.Request) -> web.Response:
        """Answer 200: the model is loaded before the server listens."""
        return web.Response()

    async def whole(self, request: web.Request) -> web.Response:
        """Transcribe a clip that comes whole."""
        try:
            form = await request.post()
            samples = _samples(form["file"].file.read())
            limit = int(form.get("max_tokens", 256))
        except (KeyError, ValueError, AttributeError, EOFError, wave.Error):
            return _refused(NO_AUDIO, "file")
        if not 1 <= limit <= LONGEST:
            return _refused(f"max_tokens must be between 1 and {LONGEST}", "max_tokens")
        return web.json_response(_said(await self._turns.once(samples, limit)))

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """Transcribe while the client speaks."""
        socket = web.WebSocketResponse(max_msg_size=LARGEST_CLIP)
        await socket.prepare(request)
        stream: Stream | None = None
        try:
            async for message in socket:
                if message.type == WSMsgType.BINARY and stream:
                    stream.hear(message.data)
                elif message.type == WSMsgType.TEXT:
                    order = json.loads(message.data)
                    if order["type"] == "finalize" and stream:
                        await stream.finish()
                        await socket.close()
                    elif order["type"] == "start":
                        stream = Stream(self._turns, socket, int(order.get("max_tokens", 256)))
        finally:
            if stream:
                stream.leave()
        return socket


def _samples(raw: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(raw)) as file:
        if (file.getsampwidth(), file.getnchannels(), file.getframerate()) != (2, 1, 16_000):
            raise ValueError(NO_AUDIO)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    if len(samples) < 1600:
        raise ValueError(NO_AUDIO)
    return samples


def _said(transcript: Transcript) -> dict[str, object]:
    return {"text": transcript.text, "token_ids": transcript.ids, "finish_reason": transcript.finish_reason}


def _refused(message: str, param: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": "invalid"}
    return web.json_response({"error": error}, status=400)


async def application(folder: Path) -> web.Application:
    """Load the model and return the application that serves it."""
    service = Service(folder)
    app = web.Application(client_max_size=LARGEST_CLIP)
    app.router.add_get("/health", service.health)
    app.router.add_post("/v1/audio/transcriptions", service.whole)
    app.router.add_get("/v1/audio/stream", service.stream)
    return app


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    app = application(options.model)
    web.run_app(app, host=options.host, port=options.port, access_log=None, shutdown_timeout=1.0)


if __name__ == "__main__":
    main()
