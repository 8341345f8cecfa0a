"""Images go out with their noise and come back as pixels, or as a fault in words."""

from __future__ import annotations

import base64
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_vibeserve.load_generator import Reply
from pytest_vibeserve.modalities.image.wire import ImageRequest, ImageWire, body, rounded
from pytest_vibeserve.target import Target
from pytest_vibeserve.workload import Vocabulary


def reply(raw: bytes, status: int = 200) -> Reply:
    said = json.dumps({"data": [{"b64_json": base64.b64encode(raw).decode()}]}).encode()
    return Reply(0, status, "", 0.0, 0.0, ((0.5, said),), 0.5, ())


def saved(pixels: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    if form == "NPY":
        np.save(stream, pixels)
    else:
        Image.fromarray(pixels).save(stream, format=form)
    return stream.getvalue()


@pytest.fixture
def wire(image_target: Target, image_model: Path) -> ImageWire:
    return ImageWire(image_target, Vocabulary(image_model))


def request_of(wire: ImageWire, **changes: object) -> ImageRequest:
    found = wire.fresh(random.Random(1), 1)[0]
    assert isinstance(found, ImageRequest)
    return ImageRequest(**{**{name: getattr(found, name) for name in ImageRequest.__dataclass_fields__}, **changes})


def test_noise_is_sent_as_an_array_or_by_its_seed(wire: ImageWire) -> None:
    given, seeded = (body(request_of(wire, given=given)) for given in (True, False))
    noise = np.load(io.BytesIO(base64.b64decode(given["noise"])))
    own = np.random.default_rng(seeded["seed"]).standard_normal((16, 16, 16), dtype=np.float32)
    assert np.array_equal(noise, own)
    assert "seed" not in given
    assert "noise" not in seeded


def test_a_png_comes_back_as_it_was(wire: ImageWire) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = wire.answer(request_of(wire), reply(saved(pixels)))
    assert found.fault == ""
    assert found.pixels is not None
    assert np.array_equal(np.round(found.pixels * 255).astype(np.uint8), pixels)
    assert np.array_equal(rounded(found.pixels, "png"), found.pixels)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (saved(np.zeros((32, 64, 3), dtype=np.uint8)), "64x32 pixels where 64x64"),
        (saved(np.zeros((64, 64, 3), dtype=np.uint8), "BMP"), "not an image"),
        (saved(np.zeros((64, 64, 3), dtype=np.uint8))[:-40], "not an image"),
    ],
)
def test_what_is_no_such_image_is_a_fault(wire: ImageWire, raw: bytes, words: str) -> None:
    assert words in wire.answer(request_of(wire), reply(raw)).fault


def test_arrays_are_taken_only_as_they_were_asked_for(wire: ImageWire) -> None:
    good = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    asked = request_of(wire, format="npy")
    assert wire.answer(asked, reply(saved(good, "NPY"))).fault == ""
    for bad in (good.astype(np.float64), good[:32], good + 1, np.full_like(good, np.nan)):
        assert wire.answer(asked, reply(saved(bad, "NPY"))).fault


def test_a_refusal_is_a_fault(wire: ImageWire) -> None:
    assert "HTTP 503" in wire.answer(request_of(wire), reply(b"", 503)).fault
