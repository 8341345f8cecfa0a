"""The reference of an image target, honest computations of the same image, and those that must be told apart.

A target's `reference.py` gives

    load(folder: Path, dtype: str, attention: str) -> torch.nn.Module
    generate(model, prompt: str, noise: float32 array, settings: Settings) -> float32 array [height, width, 3], 0 to 1

where `settings` has `steps`, `guidance` (the scale: 1 is none), `width` and `height`, and the sampler adds no
randomness of its own.  With

    attend(model, attention: str) -> None

a loaded model attends by another implementation from then on, and is held once for each precision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.image.wire import ImageRequest, Pixels, rounded
from pytest_vibeserve.modalities.reference_file import functions
from pytest_vibeserve.placement import Residence
from pytest_vibeserve.reference import THREADED_PARAMETERS
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import QUANTISERS, Variant, applied, honest, worst_honest
from pytest_vibeserve.weights import model_digest


@dataclass(frozen=True, slots=True)
class Settings:
    """What one image is drawn with."""

    steps: int
    guidance: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """How an image departs from the reference's: in arithmetic, or in what is drawn.

    `fewer` steps are left out; `unguided` asks for a guidance of 1, which is none; `coarse` draws at half the size and
    enlarges; `other` draws another prompt; `constant` draws nothing; `narrow` rounds the noise to the model's dtype.
    """

    name: str
    variant: Variant
    fewer: int = 0
    unguided: bool = False
    coarse: bool = False
    other: bool = False
    constant: bool = False
    narrow: bool = False


PLAIN = Drawing("fp32 reference", Variant("fp32 reference"))
EXACT = Variant("fp32")


def honest_drawings(dtype: str) -> tuple[Drawing, ...]:
    """Honest computations, the noisiest of all last; the others set the noise floor."""
    floor = [Drawing(variant.name, variant) for variant in honest(dtype)]
    narrow = Drawing(f"{dtype} from noise rounded to it", Variant(dtype, dtype), narrow=True)
    worst = worst_honest(dtype)
    return (*floor, narrow, Drawing(worst.name, worst))


def gross_drawings() -> tuple[Drawing, ...]:
    """What is far from any honest image: another prompt's, one at half the size, a constant one."""
    return (
        Drawing("another prompt's image", EXACT, other=True),
        Drawing("half the size, enlarged", EXACT, coarse=True),
        Drawing("a constant image", EXACT, constant=True),
    )


def forbidden_drawings(quantization: bool) -> tuple[Drawing, ...]:
    """What no rule allows: one step fewer, half the steps, no guidance; quantised weights unless they are allowed."""
    quantised = () if quantization else tuple(Drawing(name, Variant(name, weights=name)) for name in QUANTISERS)
    structural = (Drawing("one step fewer", EXACT, fewer=1), Drawing("without guidance", EXACT, unguided=True))
    return (*structural, *gross_drawings(), *quantised)


class ImageReference:
    """The model of an image target, as the target's `reference.py` loads it and draws with it."""

    def __init__(self, folder: Path, target: Target) -> None:
        """Bind to a model folder; weights are read on first use, once for each precision and attention."""
        self.folder, self.dtype, self.digest = folder, target.model.arithmetic, model_digest(folder)
        path = target.folder / "reference.py"
        known = functions(path)
        if missing := [name for name in ("load", "generate") if name not in known]:
            raise UsageError(f"{path}: an image target needs its function {missing[0]!r}")
        self._load, self._generate, self._attend = known["load"], known["generate"], known.get("attend")
        self._residence = Residence(target.hardware.backend)
        self._models: dict[tuple[str, str], Any] = {}

    def draw(self, request: ImageRequest, drawing: Drawing = PLAIN) -> Pixels:
        """The image of a request [height, width, 3], as its format can hold it."""
        import torch

        noise, (width, height) = request.noise, request.size
        if drawing.constant:
            return rounded(np.full((height, width, 3), 0.5, dtype=np.float32), request.format)
        if drawing.coarse:
            noise, width, height = noise[..., ::2, ::2], width // 2, height // 2
        if drawing.narrow:
            noise = torch.from_numpy(noise).to(getattr(torch, self.dtype)).float().numpy()
        guidance = 1.0 if drawing.unguided else request.guidance
        settings = Settings(max(1, request.steps - drawing.fewer), guidance, width, height)
        prompt = " ".join(reversed(request.prompt_text.split()))[::-1] if drawing.other else request.prompt_text
        model = self._model(drawing.variant.dtype, drawing.variant.attention)
        numbers = sum(parameter.numel() for parameter in model.parameters())
        torch.set_num_threads((os.cpu_count() or 1) if numbers > THREADED_PARAMETERS else 1)
        with torch.inference_mode(), applied(model, drawing.variant):
            pixels = np.asarray(self._generate(model, prompt, np.ascontiguousarray(noise), settings), dtype=np.float32)
        if drawing.coarse:
            pixels = pixels.repeat(2, axis=0).repeat(2, axis=1)
        return rounded(pixels, request.format)

    def errors(self, request: ImageRequest, drawings: Sequence[Drawing], truth: Pixels) -> list[float]:
        """Mean squared errors of drawings of one request."""
        return [squared(self.draw(request, drawing), truth) for drawing in drawings]

    def _model(self, dtype: str, attention: str) -> Any:
        self._residence.come()
        key = (dtype, "" if self._attend else attention)
        if key not in self._models:
            self._models[key] = self._residence.admitted(self._load(self.folder, dtype, attention).eval())
        if self._attend:
            self._attend(self._models[key], attention)
        return self._models[key]

    @property
    def numbers(self) -> int:
        """Parameters of the model, those shared by several precisions counted once."""
        return sum(parameter.numel() for parameter in self._model("float32", "sdpa").parameters())


def squared(one: Pixels, other: Pixels) -> float:
    """Mean squared difference of two images."""
    return float(np.square(one.astype(np.float64) - other).mean())


def psnr(error: float) -> float:
    """Peak signal to noise ratio (dB) of a mean squared error of pixels between 0 and 1."""
    return float(-10 * np.log10(max(error, 1e-12)))
