"""Limits for images from the model itself: how noisy honest images are, and how near the nearest forbidden one is."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.judge.calibration import SEPARABLE
from pytest_vibeserve.judge.ratio import Bounds, Floats
from pytest_vibeserve.modalities.image.reference import (
    Drawing,
    ImageReference,
    forbidden_drawings,
    gross_drawings,
    honest_drawings,
)
from pytest_vibeserve.modalities.image.wire import ImageRequest, ImageWire
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.weights import cache_root

VERSION = 1
IMAGES, FEW_IMAGES = 12, 5
LARGE = 500_000_000
"""Parameters from which on a calibration makes do with few images, each of which is drawn a dozen times over."""

ROUNDING = {"png": 1 / 255**2 / 12, "npy": 1e-12}
"""Mean squared error of rounding to the format: what two computations that agree may still differ by."""


class ImageCalibration(BaseModel):
    """The noise of one image model: `noise` is the honest mean squared error, `ratios` are in units of it.

    `allowed` and `nearest` are the noisiest allowed drawing and the nearest forbidden one; `unseparated` cannot be
    told from honest noise.  `single` bounds the ratio of one image: between honest images and grossly wrong ones.
    """

    model_config = ConfigDict(frozen=True)
    noise: float
    ratios: dict[str, float]
    allowed: str
    nearest: str
    single: float
    unseparated: tuple[str, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """The limits that follow."""
        return Bounds(max(1.0, self.ratios[self.allowed]), self.ratios[self.nearest])


def calibrate(reference: ImageReference, wire: ImageWire) -> ImageCalibration:
    """The calibration of a target's model and settings, measured once and kept beside the models.

    InfrastructureError when a step fewer, or another prompt, cannot be told from honest noise.
    """
    path = _path(reference, wire)
    try:
        return ImageCalibration.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        found = _measured(reference, wire)
        write_atomically(path, found.model_dump_json(indent=1))
        return found


def _measured(reference: ImageReference, wire: ImageWire) -> ImageCalibration:
    allowed = list(honest_drawings(reference.dtype))
    floor = {drawing.name for drawing in allowed[:-1]}
    forbidden = list(forbidden_drawings(wire.target.rules.quantization))
    errors = _errors(reference, wire, [*allowed, *forbidden])
    means = {name: float(values.mean()) for name, values in errors.items()}
    noise = max(means[name] for name in floor) + ROUNDING[wire.target.image.format]
    ratios = {name: mean / noise for name, mean in means.items()}
    highest = max((drawing.name for drawing in allowed), key=ratios.__getitem__)
    clear = [d.name for d in forbidden if ratios[d.name] > SEPARABLE * max(1.0, ratios[highest])]
    if not {"one step fewer", *(drawing.name for drawing in gross_drawings())} <= set(clear):
        raise InfrastructureError(
            f"{reference.folder}: a step fewer or a wrong image does not show beside honest noise ({ratios}); "
            "ask for fewer steps, or draw the model's weights with a sharper initialisation"
        )
    return ImageCalibration(
        noise=noise, ratios=ratios, allowed=highest, nearest=min(clear, key=ratios.__getitem__),
        single=_single(errors, allowed, floor, ROUNDING[wire.target.image.format]),
        unseparated=tuple(d.name for d in forbidden if d.name not in clear),
    )  # fmt: skip


def _errors(reference: ImageReference, wire: ImageWire, drawings: list[Drawing]) -> dict[str, Floats]:
    rows = []
    for request in wire.fresh(random.Random(0), FEW_IMAGES if reference.numbers > LARGE else IMAGES):
        assert isinstance(request, ImageRequest)
        rows.append(reference.errors(request, drawings, reference.draw(request)))
    table = np.asarray(rows, dtype=np.float64).T
    return {drawing.name: values for drawing, values in zip(drawings, table, strict=True)}


def _single(errors: dict[str, Floats], allowed: list[Drawing], floor: set[str], rounding: float) -> float:
    """Geometric mean of the largest honest ratio of one image and the smallest one of a grossly wrong image."""
    own = np.stack([errors[name] for name in floor]).max(axis=0) + rounding
    honest = max(float((errors[drawing.name] / own).max()) for drawing in allowed)
    gross = min(float((errors[drawing.name] / own).min()) for drawing in gross_drawings())
    return float(np.sqrt(max(1.0, honest) * max(gross, 1.0)))


def _path(reference: ImageReference, wire: ImageWire) -> Path:
    image = wire.target.image.model_dump(mode="json")
    stated = json.dumps([VERSION, reference.digest, reference.dtype, wire.target.rules.quantization, IMAGES, image])
    return cache_root() / "calibration" / f"image-{hashlib.sha256(stated.encode()).hexdigest()[:24]}.json"
