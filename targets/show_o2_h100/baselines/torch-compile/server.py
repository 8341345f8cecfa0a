"""The HTTP server: health, and images one after the other."""

import argparse
import asyncio
import base64
import binascii
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiohttp import web
from PIL import Image

from painter import Painter

LARGEST_BODY = 2**26
MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """One image that was asked for."""

    prompt: str
    noise: np.ndarray
    steps: int
    guidance: float
    form: str


class Refused(Exception):
    """A request that cannot be served, in words."""


class Gallery:
    """One thread that paints; who asks first is served first, and who leaves is not waited for."""

    def __init__(self, folder: Path) -> None:
        """Load the model onto the best device there is, in the weights' own precision."""
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._channels, self._size = stated["channels"], 2 ** (len(stated["vae"]["multiples"]) - 1)
        self._patch = stated["patch"]
        self._painter = Painter.load(folder, torch.bfloat16).to(_device())
        self._thread = ThreadPoolExecutor(1)

    async def health(self, _: web.Request) -> web.Response:
        """Answer 200: the model is loaded before the server listens."""
        return web.Response()

    async def generate(self, request: web.Request) -> web.Response:
        """Paint what is asked for."""
        try:
            order = self.order(json.loads(await request.read()))
        except (Refused, json.JSONDecodeError) as fault:
            error = {"message": str(fault), "type": "invalid_request_error", "param": None, "code": "invalid"}
            return web.json_response({"error": error}, status=400)
        left = threading.Event()
        try:
            raw = await asyncio.get_running_loop().run_in_executor(self._thread, self._painted, order, left)
        except asyncio.CancelledError:
            left.set()
            raise
        return web.json_response({"created": 0, "data": [{"b64_json": base64.b64encode(raw).decode()}]})

    def _painted(self, order: Order, left: threading.Event) -> bytes:
        if left.is_set():
            return b""
        with torch.inference_mode():
            pixels = self._painter.paint(order.prompt, order.noise, order.steps, order.guidance)
        stream = io.BytesIO()
        if order.form == "npy":
            np.save(stream, pixels.astype(np.float32))
        else:
            Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(stream, format="PNG")
        return stream.getvalue()

    def order(self, body: Any) -> Order:
        """What a body asks for; Refused when it cannot be drawn."""
        try:
            prompt, steps, guidance = body["prompt"], body.get("steps", 20), body.get("guidance", 5.0)
            width, height = (int(part) for part in str(body.get("size", "432x432")).split("x"))
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise Refused(f"a field is missing or wrong: {fault}") from fault
        least = self._size * self._patch
        if not isinstance(prompt, str) or type(steps) is not int or not 1 <= steps <= MOST_STEPS:
            raise Refused("prompt must be text and steps a whole number of at least 1")
        if min(width, height) < least or width % least or height % least:
            raise Refused(f"width and height must be multiples of {least}")
        shape = (self._channels, height // self._size, width // self._size)
        return Order(prompt, _noise(body, shape), steps, float(guidance), body.get("output_format", "png"))


def _noise(body: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    if body.get("noise") is None:
        if type(body.get("seed")) is not int:
            raise Refused("give `noise` or a whole number as `seed`")
        return np.random.default_rng(body["seed"]).standard_normal(shape, dtype=np.float32)
    try:
        found = np.load(io.BytesIO(base64.b64decode(body["noise"], validate=True)), allow_pickle=False)
    except (binascii.Error, ValueError, EOFError, TypeError, OSError) as fault:
        raise Refused(f"noise is no .npy file: {fault}") from fault
    if found.shape != shape or found.dtype != np.float32:
        raise Refused(f"noise is {found.dtype} {found.shape}, not float32 {shape}")
    return found


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    torch.set_num_threads(1)
    return "cpu"


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    gallery = Gallery(options.model)
    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_get("/health", gallery.health)
    app.router.add_post("/v1/images/generations", gallery.generate)
    web.run_app(
        app, host=options.host, port=options.port, access_log=None, handler_cancellation=True, shutdown_timeout=1.0
    )


if __name__ == "__main__":
    main()
