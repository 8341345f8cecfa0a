"""A plain image server on aiohttp and its dishonest brothers.

image_server.py MODEL [KIND [PORT]]     prints its port
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aiohttp import web
from PIL import Image

Body = dict[str, Any]
REFERENCE = Path(__file__).resolve().parents[1] / "targets" / "tiny_flow" / "reference.py"
SHAPE = (4, 8, 8)


@dataclass
class Settings:
    steps: int
    guidance: float
    width: int
    height: int


class Painter:
    """The honest server."""

    dtype = "bfloat16"

    def __init__(self, model: Path) -> None:
        torch.set_num_threads(1)
        spec = importlib.util.spec_from_file_location("flow", REFERENCE)
        assert spec is not None
        assert spec.loader is not None
        self.flow = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.flow)
        self.model = self.flow.load(model, self.dtype, "sdpa").eval()

    def noise(self, body: Body) -> np.ndarray:
        if "noise" in body:
            found = np.load(io.BytesIO(base64.b64decode(body["noise"])), allow_pickle=False)
        else:
            found = np.random.default_rng(body["seed"]).standard_normal(SHAPE, dtype=np.float32)
        if found.shape != SHAPE:
            raise ValueError("the noise has another shape")
        return found

    def pixels(self, body: Body) -> np.ndarray:
        width, height = (int(part) for part in body["size"].split("x"))
        if (width, height) != (64, 64) or body["steps"] < 1 or not isinstance(body["prompt"], str):
            raise ValueError("a field is wrong")
        settings = Settings(self.steps(body), self.guidance(body), width, height)
        with torch.inference_mode():
            return self.flow.generate(self.model, body["prompt"], self.noise(body), settings)

    def steps(self, body: Body) -> int:
        return body["steps"]

    def guidance(self, body: Body) -> float:
        return body["guidance"]

    def spent(self, body: Body) -> float:
        """Seconds that this server waits besides."""
        return 0.0

    async def generate(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            body = {"size": "64x64", "steps": 8, "guidance": 2.0, **body}
            pixels = self.pixels(body)
        except (ValueError, KeyError, TypeError, AttributeError, EOFError) as fault:
            error = {"message": str(fault), "type": "invalid_request_error", "param": None, "code": "invalid"}
            return web.json_response({"error": error}, status=400)
        await asyncio.sleep(self.spent(body))
        stream = io.BytesIO()
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(stream, format="PNG")
        return web.json_response({"created": 0, "data": [{"b64_json": base64.b64encode(stream.getvalue()).decode()}]})


class Float32(Painter):
    """Honest, in full precision."""

    dtype = "float32"


class Narrow(Painter):
    """Honest, from noise rounded to the model's precision."""

    def noise(self, body: Body) -> np.ndarray:
        return torch.from_numpy(super().noise(body)).bfloat16().float().numpy()


class Constant(Painter):
    """One PNG for everybody."""

    def pixels(self, body: Body) -> np.ndarray:
        super().pixels(body)
        return np.full((64, 64, 3), 0.5)


class FewerSteps(Painter):
    """Leaves one step out."""

    def steps(self, body: Body) -> int:
        return body["steps"] - 1


class Unguided(Painter):
    """Leaves the guidance out."""

    def guidance(self, body: Body) -> float:
        return 1.0


class HalfSize(Painter):
    """Draws at half the size and enlarges."""

    def pixels(self, body: Body) -> np.ndarray:
        super().pixels(body)
        noise = np.ascontiguousarray(self.noise(body)[:, ::2, ::2])
        with torch.inference_mode():
            small = self.flow.generate(
                self.model, body["prompt"], noise, Settings(body["steps"], body["guidance"], 32, 32)
            )
        return small.repeat(2, axis=0).repeat(2, axis=1)


class Small(Painter):
    """Sends images of half the size."""

    def pixels(self, body: Body) -> np.ndarray:
        return super().pixels(body)[::2, ::2]


class OwnNoise(Painter):
    """Takes noise of its own."""

    def noise(self, body: Body) -> np.ndarray:
        super().noise(body)
        return np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)


class ByPrompt(Painter):
    """Keeps the image of a prompt, whatever the noise."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.kept: dict[str, np.ndarray] = {}

    def key(self, body: Body) -> str:
        return body["prompt"]

    def pixels(self, body: Body) -> np.ndarray:
        return self.kept.setdefault(self.key(body), super().pixels(body))


class Memoised(ByPrompt):
    """Keeps whole answers: right every time, and drawn once."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        self.asked: set[str] = set()

    def key(self, body: Body) -> str:
        return json.dumps(body)

    def spent(self, body: Body) -> float:
        known = self.key(body) in self.asked
        self.asked.add(self.key(body))
        return 0.0 if known else 0.2


class Eightbit(Painter):
    """Rounds its weights to eight bits a row."""

    def __init__(self, model: Path) -> None:
        super().__init__(model)
        with torch.no_grad():
            for module in self.model.modules():
                if isinstance(module, torch.nn.Linear):
                    scale = module.weight.float().abs().amax(1, keepdim=True) / 127
                    module.weight.copy_(torch.round(module.weight.float() / scale) * scale)


KINDS: dict[str, type[Painter]] = {
    "honest": Painter, "float32": Float32, "narrow": Narrow, "constant": Constant, "fewer-steps": FewerSteps,
    "unguided": Unguided, "half-size": HalfSize, "small": Small, "own-noise": OwnNoise, "by-prompt": ByPrompt,
    "memoised": Memoised, "eight-bit": Eightbit,
}  # fmt: skip


async def serve(painter: Painter) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.add_routes([web.post("/v1/images/generations", painter.generate), web.get("/health", health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(KINDS[sys.argv[2]](Path(sys.argv[1]))))
