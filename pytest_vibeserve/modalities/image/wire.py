"""The wire of `POST /v1/images/generations`.

    {"prompt": "...", "n": 1, "size": "64x64", "steps": 12, "guidance": 5.0, "response_format": "b64_json",
     "output_format": "png", "noise": "<base64 of a .npy file>"}            or, in place of `noise`, "seed": 7

`noise` is the initial noise, float32 of the target's `image.noise` shape, as `numpy.save` writes it.  With `seed`
instead, the noise is `numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)`.  The answer is

    {"created": 0, "data": [{"b64_json": "..."}]}

with a PNG (8 bit, RGB) or, where `output_format` is `npy`, a float32 array [height, width, 3] between 0 and 1.
"""

from __future__ import annotations

import base64
import binascii
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.load_generator import Exchange, Reply
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Request, Vocabulary, Workload

PATH = "/v1/images/generations"
Pixels = NDArray[np.float32]
SUBJECTS = ("fox", "harbour", "lantern", "orchard", "glacier", "violin", "market", "heron", "bridge", "teapot", "comet")
MANNERS = ("in watercolour", "at dusk", "made of glass", "seen from above", "in heavy rain", "as a woodcut", "in fog")
PLACES = ("by the sea", "in a valley", "on a table", "under snow", "among reeds", "near a wall", "in a station")


@dataclass(frozen=True, slots=True)
class ImageRequest(Request):
    """One image; `seed` fixes its noise, which is sent as an array where `given`."""

    steps: int = 1
    guidance: float = 1.0
    size: tuple[int, int] = (64, 64)
    shape: tuple[int, ...] = (4, 8, 8)
    given: bool = True
    format: str = "png"

    @property
    def noise(self) -> Pixels:
        """The initial noise."""
        return np.random.default_rng(self.seed).standard_normal(self.shape, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ImageAnswer(Answer):
    """What came back: `pixels` [height, width, 3] between 0 and 1, None where there is a fault."""

    pixels: Pixels | None = None


class ImageWire:
    """Images of one target on the wire: fresh requests, their exchanges, and what their replies say."""

    def __init__(self, target: Target, vocabulary: Vocabulary) -> None:
        """Bind to a target's `[image]` table; the vocabulary is what a target's own `workload.py` may ask for."""
        self.target, self._vocabulary = target, vocabulary

    def fresh(self, draws: random.Random, count: int) -> list[Request]:
        """Fresh images: prompts in words, steps and guidance by the target, every other noise only by its seed."""
        drawn: list[Request] = [self._drawn(draws, index) for index in range(count)]
        return Workload(self.target, self._vocabulary, draws).shaped(drawn)

    def _drawn(self, draws: random.Random, index: int) -> ImageRequest:
        image = self.target.image
        words = f"a {draws.choice(SUBJECTS)} and a {draws.choice(SUBJECTS)} {draws.choice(MANNERS)}"
        return ImageRequest(
            id=index, prompt_ids=(), prompt_text=f"{words} {draws.choice(PLACES)}, number {draws.randrange(10**6)}",
            max_tokens=0, stream=False, seed=draws.randrange(2**31), steps=draws.randint(*image.steps),
            guidance=draws.choice(image.guidance), size=image.size, shape=image.noise, given=draws.random() < 0.5,
            format=image.format, kind="image",
        )  # fmt: skip

    def exchange(self, request: Request, timeout_s: float, at_s: float | None = None) -> Exchange:
        """The exchange of an image."""
        assert isinstance(request, ImageRequest)
        raw = orjson.dumps(body(request))
        return Exchange(id=request.id, method="POST", path=PATH, body=raw, at_s=at_s, timeout_s=timeout_s)

    def answer(self, request: Request, reply: Reply) -> ImageAnswer:
        """What a reply says; a breach of the protocol is kept as `fault`, never raised."""
        assert isinstance(request, ImageRequest)
        blank = ImageAnswer(
            request, reply.status, reply.error, scheduled_s=reply.scheduled_s, sent_s=reply.sent_s, done_s=reply.done_s
        )
        if reply.error:
            return blank
        if reply.status != 200:
            return replace(blank, fault=f"HTTP {reply.status}: {reply.body[:160].decode('utf-8', 'replace')!r}")
        try:
            (entry,) = orjson.loads(reply.body)["data"]
            raw = base64.b64decode(entry["b64_json"], validate=True)
            pixels = READERS[request.format](raw, request.size)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OSError, SyntaxError, binascii.Error) as fault:
            return replace(blank, fault=f"not an image ({type(fault).__name__}: {fault})")
        return replace(blank, pixels=pixels)


def body(request: ImageRequest) -> dict[str, Any]:
    """The JSON body of an image."""
    fields: dict[str, Any] = {
        "prompt": request.prompt_text, "n": 1, "size": f"{request.size[0]}x{request.size[1]}", "steps": request.steps,
        "guidance": request.guidance, "response_format": "b64_json", "output_format": request.format,
    }  # fmt: skip
    if request.given:
        stream = io.BytesIO()
        np.save(stream, request.noise)
        return fields | {"noise": base64.b64encode(stream.getvalue()).decode()}
    return fields | {"seed": request.seed}


def rounded(pixels: Pixels, form: str) -> Pixels:
    """Pixels as the format can hold them: between 0 and 1, PNG in steps of 1/255."""
    kept = np.clip(pixels, 0, 1)
    return np.round(kept * 255) / np.float32(255) if form == "png" else kept


def _png(raw: bytes, size: tuple[int, int]) -> Pixels:
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(f"images need {error.name}: pip install 'pytest-vibeserve[image]'") from error
    with Image.open(io.BytesIO(raw), formats=("PNG",)) as picture:
        if picture.size != size:
            raise ValueError(f"{picture.size[0]}x{picture.size[1]} pixels where {size[0]}x{size[1]} were asked for")
        return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255)


def _npy(raw: bytes, size: tuple[int, int]) -> Pixels:
    found = np.load(io.BytesIO(raw), allow_pickle=False)
    if found.shape != (size[1], size[0], 3) or found.dtype != np.float32:
        raise ValueError(f"{found.dtype} {found.shape} where float32 {(size[1], size[0], 3)} was asked for")
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
        raise ValueError("pixels outside 0 to 1")
    pixels: Pixels = found
    return pixels


READERS: dict[str, Callable[[bytes, tuple[int, int]], Pixels]] = {"png": _png, "npy": _npy}
