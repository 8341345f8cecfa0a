"""The audit of images: errors against the fp32 reference in units of honest noise, one by one and all together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pytest_vibeserve.judge.ratio import Floats, Ratio, ratio
from pytest_vibeserve.judge.signature import COEFFICIENT, Signature
from pytest_vibeserve.modalities.image.calibration import ROUNDING, ImageCalibration
from pytest_vibeserve.modalities.image.reference import (
    Drawing,
    ImageReference,
    forbidden_drawings,
    honest_drawings,
    psnr,
    squared,
)
from pytest_vibeserve.modalities.image.wire import ImageAnswer, ImageRequest, Pixels
from pytest_vibeserve.report import Check, Result
from pytest_vibeserve.variants import QUANTISERS, Variant

FLOOR = 0.05
"""Share of the calibrated noise that is added to both sums of a ratio, for each image."""

GROUP_CONFIDENCE, SMALLEST_GROUP = 0.9998, 12
NARROW = Drawing(QUANTISERS[0], Variant(QUANTISERS[0], weights=QUANTISERS[0]))
"""The forbidden drawing whose trace is looked for in every image: it may err less than honest arithmetic does."""

RESEMBLES = 0.25
"""An image this many times nearer to a forbidden drawing than to the reference is said to be like it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One image beside its reference: mean squared errors of the server and [variants] of honest computations.

    `trace` says how much of the deviation of rounded weights is in the server's: 0 is none, 1 is all of it.
    """

    answer: ImageAnswer
    request: ImageRequest
    error: float
    honest: Floats
    share: float
    trace: float = 0.0

    @property
    def shown(self) -> str:
        """One burned example."""
        r = self.request
        drawn = f"{r.prompt_text!r}, seed {r.seed}, {r.steps} steps, guidance {r.guidance}"
        return f"{drawn}: PSNR {psnr(self.error):.1f} dB where honest computation has {psnr(self.honest.max()):.1f} dB"


@dataclass(frozen=True, slots=True)
class ImageAuditor:
    """Judges images by the limits that the model itself gives."""

    reference: ImageReference
    calibration: ImageCalibration
    quantization: bool
    depth: Literal["quick", "full"]

    def seen(self, answer: ImageAnswer) -> Seen:
        """An image that came, beside what the model draws."""
        assert isinstance(answer.request, ImageRequest)
        assert answer.pixels is not None
        truth = self.reference.draw(answer.request)
        floor = honest_drawings(self.reference.dtype)[:-1]
        honest = np.asarray(self.reference.errors(answer.request, floor, truth))
        error, rounding = squared(answer.pixels, truth), ROUNDING[answer.request.format]
        share = error / (float(honest.max()) + rounding)
        trace = 0.0 if self.quantization else traced(answer.pixels, self.reference.draw(answer.request, NARROW), truth)
        return Seen(answer, answer.request, error, honest, share, trace)

    def checks(self, seen: Sequence[Seen], name: str) -> list[Check]:
        """Every check of the images; those that fail say what the worst image is like."""
        found = [self.single(seen, name), self._ratio(seen, name), self._groups(seen, name)]
        return self._explained(seen, found if self.quantization else [*found, self._signature(seen, name)])

    def glanced(self, seen: Sequence[Seen], name: str) -> list[Check]:
        """The check of single images alone, for the first few; empty where nothing is broken."""
        found = [self.single(seen, name)] if seen else []
        return self._explained(seen, [check for check in found if check.result == "fail"])

    def single(self, seen: Sequence[Seen], name: str) -> Check:
        """No image is farther from the model's own than any honest computation can be."""
        worst, limit = max(seen, key=lambda item: item.share), self.calibration.single
        broken = sum(item.share > limit for item in seen)
        return Check(
            name=f"{name}.request", result="fail" if broken else "pass", statistic=worst.share, threshold=limit,
            unit="x", example=worst.shown if broken else "",
            detail=f"{broken} of {len(seen)} images are none that the model draws of this prompt and noise",
        )  # fmt: skip

    def _explained(self, seen: Sequence[Seen], checks: Sequence[Check]) -> list[Check]:
        cause = self._cause(seen) if any(check.result == "fail" for check in checks) else ""
        return [
            check.model_copy(update={"detail": f"{check.detail}; {cause}"})
            if cause and check.result == "fail" else check
            for check in checks
        ]  # fmt: skip

    def _ratio(self, seen: Sequence[Seen], name: str) -> Check:
        bounds, found = self.calibration.bounds, self._of(seen)
        said = found.said(bounds)
        if said == "undecided" and self.depth == "quick" and found.point < bounds.rejected_above:
            said = "pass"
        result: Result = "inconclusive" if said == "undecided" else said
        levels = [psnr(float(np.mean(values))) for values in ([s.error for s in seen], [s.honest.max() for s in seen])]
        between = f"{self.calibration.allowed} ({bounds.honest:.2f}) and {self.calibration.nearest}"
        return Check(
            name=f"{name}.noise-ratio", result=result, statistic=found.point, threshold=bounds.limit, unit="x",
            detail=f"error of {len(seen)} images in units of honest noise: {found.point:.2f} [{found.low:.2f}, "
            f"{found.high:.2f}], limit {bounds.limit:.2f} between {between} ({bounds.forbidden:.2f}); PSNR "
            f"{levels[0]:.1f} dB, honest {levels[1]:.1f} dB",
            example=max(seen, key=lambda item: item.share).shown if result == "fail" else "",
        )  # fmt: skip

    def _groups(self, seen: Sequence[Seen], name: str) -> Check:
        groups: dict[str, list[Seen]] = {}
        for item in seen:
            groups.setdefault("with given noise" if item.request.given else "with seeded noise", []).append(item)
            groups.setdefault(f"of kind {item.request.kind}", []).append(item)
            groups.setdefault(f"with guidance {item.request.guidance:g}", []).append(item)
        bounds = self.calibration.bounds
        found = {
            key: self._of(group, GROUP_CONFIDENCE) for key, group in groups.items() if len(group) >= SMALLEST_GROUP
        }
        failed = [key for key, one in found.items() if one.said(bounds) == "fail"]
        which = max(failed or found, key=lambda key: found[key].point, default="none")
        return Check(
            name=f"{name}.groups", result="fail" if failed else "pass", threshold=bounds.limit, unit="x",
            statistic=found[which].point if found else 0.0,
            detail=f"by kind of request; the largest is of images {which}",
        )  # fmt: skip

    def _signature(self, seen: Sequence[Seen], name: str) -> Check:
        """The deviations do not point to where rounded weights move an image, however small they are."""
        traces = np.array([item.trace for item in seen])
        mean, spread = float(traces.mean()), float(traces.std(ddof=1)) if len(traces) > 1 else math.inf
        found = Signature(NARROW.name, mean, mean / max(spread / math.sqrt(len(traces)), 1e-9))
        return Check(
            name=f"{name}.signature", result="fail" if found.found else "pass", statistic=mean, threshold=COEFFICIENT,
            detail=f"share of the deviation of weights as {found.name} in that of {len(seen)} images, {found.z:.1f} "
            "standard errors from none",
            example=max(seen, key=lambda item: item.trace).shown if found.found else "",
        )  # fmt: skip

    def _of(self, seen: Sequence[Seen], confidence: float = 0.998) -> Ratio:
        rounding = ROUNDING[seen[0].request.format]
        errors = np.array([item.error for item in seen])
        noise = np.stack([item.honest for item in seen]) + rounding
        return ratio(errors, noise, FLOOR * len(seen) * self.calibration.noise, confidence)

    def _cause(self, seen: Sequence[Seen]) -> str:
        """The forbidden drawing that the worst image resembles, in words; "" when it resembles none."""
        worst = max(seen, key=lambda item: item.share)
        assert worst.answer.pixels is not None
        forbidden = forbidden_drawings(self.quantization)
        errors = self.reference.errors(worst.request, forbidden, worst.answer.pixels)
        best = int(np.argmin(errors))
        return f"most like {forbidden[best].name}" if errors[best] < RESEMBLES * worst.error else ""


def traced(served: Pixels, other: Pixels, truth: Pixels) -> float:
    """How much of another drawing's deviation from the truth is in the served one: least squares over the pixels."""
    theirs, ours = other.astype(np.float64) - truth, served.astype(np.float64) - truth
    size = float(np.square(theirs).sum())
    return float((theirs * ours).sum()) / size if size else 0.0
