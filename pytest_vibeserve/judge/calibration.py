"""Limits from the model itself: how noisy honest computation is on it, and how near the nearest forbidden one lies."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.judge.evidence import logprobs_at
from pytest_vibeserve.judge.ratio import Bounds
from pytest_vibeserve.reference import Context, Reference
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.variants import REFERENCE, Variant, honest, quantised, structural, worst_honest
from pytest_vibeserve.weights import cache_root
from pytest_vibeserve.workload import Vocabulary

VERSION = 1
PROMPTS, PROMPT_TOKENS, ANSWER_TOKENS = 32, 24, 32
SEPARABLE = 1.3
"""How many times the noisiest honest computation a forbidden one must lie away to be told apart by size alone."""

EIGHT_BIT = 4
"""How many of the quantisers are of eight bits: what a target that allows quantization allows."""


class Calibration(BaseModel):
    """The noise of one model: `sigma` is the honest rms logprob error (nats), `ratios` are in units of its square.

    `allowed` names the noisiest computation that the rules allow, `nearest` the nearest forbidden one that size can
    tell from it, `unseparated` those that only their signature can.
    """

    model_config = ConfigDict(frozen=True)
    sigma: float
    ratios: dict[str, float]
    allowed: str
    nearest: str
    unseparated: tuple[str, ...] = ()

    @property
    def bounds(self) -> Bounds:
        """The limits that follow."""
        return Bounds(max(1.0, self.ratios[self.allowed]), self.ratios[self.nearest])


def calibrate(reference: Reference, vocabulary: Vocabulary, quantization: bool) -> Calibration:
    """The calibration of a model under a rule; measured once (seconds to minutes) and kept beside the models.

    The ratio is that of mean squared logprob errors.  It serves for margins as well: where noise is small against
    the gaps between logits, the mean margin is the density of near ties times the noise squared, so both scale alike.
    InfrastructureError when nothing forbidden can be told from honest noise: such weights cannot judge anybody.
    """
    path = _path(reference, quantization)
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        found = _measured(reference, vocabulary, quantization)
        write_atomically(path, found.model_dump_json(indent=1))
        return found


def _measured(reference: Reference, vocabulary: Vocabulary, quantization: bool) -> Calibration:
    dtype = reference.dtype
    draws = random.Random(0)
    contexts = reference.continued(
        [(*vocabulary.prefix, *draws.choices(vocabulary.ordinary, k=PROMPT_TOKENS)) for _ in range(PROMPTS)],
        ANSWER_TOKENS,
    )
    floor = honest(dtype)
    quantisers = quantised(dtype)
    structures = [structural(reference.layers)[index] for index in (reference.layers // 2, -2, -1)]
    allowed = [worst_honest(dtype), *floor, *(quantisers[:EIGHT_BIT] if quantization else ())]
    forbidden = [*structures, *(() if quantization else quantisers)]
    squares = _squares(reference, contexts, [*allowed, *forbidden])
    noise = max(squares[variant.name] for variant in floor)
    if not noise > 0:
        raise InfrastructureError(f"{reference.folder}: honest computations do not differ: nothing can be judged")
    ratios = {name: square / noise for name, square in squares.items()}
    highest = max((variant.name for variant in allowed), key=ratios.__getitem__)
    clear = [v.name for v in forbidden if ratios[v.name] > SEPARABLE * ratios[highest]]
    if not clear:
        raise InfrastructureError(
            f"{reference.folder}: neither a layer left out nor a wrong position shows in this model's logits; "
            "draw its weights with a sharper initialisation"
        )
    unseparated = tuple(v.name for v in forbidden if v.name not in clear)
    nearest = min(clear, key=ratios.__getitem__)
    return Calibration(sigma=noise**0.5, ratios=ratios, allowed=highest, nearest=nearest, unseparated=unseparated)


def _squares(reference: Reference, contexts: list[Context], variants: list[Variant]) -> dict[str, float]:
    """Mean squared logprob error of each variant over the reference's five likeliest ids."""
    tops, truths = {}, {}
    for index, (logits,) in reference.walk(contexts, (REFERENCE,)):
        tops[index] = np.argsort(-logits, axis=1)[:, :5]
        truths[index] = logprobs_at(logits, tops[index])
    found = {}
    for variant in variants:
        errors = [
            np.square(logprobs_at(logits, tops[index]) - truths[index]).mean()
            for index, (logits,) in reference.walk(contexts, (variant,))
        ]
        found[variant.name] = float(np.mean(errors))
    return found


def _path(reference: Reference, quantization: bool) -> Path:
    stated = json.dumps([VERSION, reference.digest, reference.dtype, quantization, PROMPTS, ANSWER_TOKENS])
    name = hashlib.sha256(stated.encode()).hexdigest()[:24]
    return cache_root() / "calibration" / f"{name}.json"
