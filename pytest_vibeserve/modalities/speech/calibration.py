"""Limits for speech from the model itself: token noise, and word errors, of honest and of forbidden computation."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_vibeserve.errors import InfrastructureError
from pytest_vibeserve.judge.calibration import SEPARABLE, Calibration
from pytest_vibeserve.judge.evidence import TOP, logprobs_at
from pytest_vibeserve.modalities.speech.reference import Hearing, SpeechReference
from pytest_vibeserve.modalities.speech.wire import SpeechRequest, SpeechWire
from pytest_vibeserve.modalities.speech.words import word_errors
from pytest_vibeserve.reference import Context
from pytest_vibeserve.report import write_atomically
from pytest_vibeserve.variants import REFERENCE, Variant, honest, quantised, structural, worst_honest
from pytest_vibeserve.weights import cache_root

DATA = "VIBESERVE_DATA_SPEECH"
VERSION = 2
CLIPS, TOKENS = 15, 24
EIGHT_BIT = 4


class SpeechCalibration(BaseModel):
    """The noise of a model over tokens, and the excess of word errors that separates honest from forbidden.

    `excess` is None where words do not tell them apart: a trained model may hear no word in sound that nobody spoke.
    """

    model_config = ConfigDict(frozen=True)
    tokens: Calibration
    excess: float | None


@dataclass(frozen=True, slots=True)
class Sides:
    """Computations that the rules allow, and those that they forbid."""

    allowed: tuple[Variant, ...]
    forbidden: tuple[Variant, ...]


def sides(reference: SpeechReference, quantization: bool) -> Sides:
    """Honest variants and, forbidden, a layer left out and audio heard at half the rate or late; quantised by rule."""
    dtype = reference.dtype
    quantisers = quantised(dtype)
    allowed = [worst_honest(dtype), *honest(dtype), *(quantisers[:EIGHT_BIT] if quantization else ())]
    layers = structural(reference.layers)
    hearings = (Hearing("audio at half the rate", hears="half rate"), Hearing("audio heard late", hears="late"))
    return Sides(tuple(allowed), (layers[reference.layers // 2], *hearings, *(() if quantization else quantisers)))


def calibrate(reference: SpeechReference, wire: SpeechWire) -> SpeechCalibration:
    """The calibration of a target's model, measured once and kept beside the models.

    InfrastructureError when nothing forbidden can be told from honest noise in tokens.
    """
    path = _path(reference, wire)
    try:
        return SpeechCalibration.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        found = _measured(reference, wire)
        write_atomically(path, found.model_dump_json(indent=1))
        return found


def transcripts(
    reference: SpeechReference, wire: SpeechWire, requests: Sequence[SpeechRequest], variant: Variant
) -> list[str]:
    """What a variant itself says of each clip, within the request's own limit of tokens."""
    said = [reference.greedy(request.clip, variant, request.max_tokens) for request in requests]
    return [wire.vocabulary.decode(ids) for ids in said]


def distance(one: SpeechReference, other: SpeechReference, requests: Sequence[SpeechRequest]) -> float:
    """Mean squared difference (nats) of two models' logprobs of the first one's likeliest ids."""
    contexts = [Context(r.prompt_ids, one.greedy(r.clip, REFERENCE, TOKENS)) for r in requests]
    found = []
    for (_, (first,)), (_, (second,)) in zip(
        one.walk(contexts, (REFERENCE,)), other.walk(contexts, (REFERENCE,)), strict=True
    ):
        top = np.argsort(-first, axis=1)[:, :TOP]
        found.append(float(np.square(logprobs_at(second, top) - logprobs_at(first, top)).mean()))
    return float(np.mean(found))


def _measured(reference: SpeechReference, wire: SpeechWire) -> SpeechCalibration:
    requests = [r for r in wire.fresh(random.Random(0), CLIPS) if isinstance(r, SpeechRequest)]
    kinds = sides(reference, wire.target.rules.quantization)
    return SpeechCalibration(
        tokens=_tokens(reference, requests, kinds), excess=_excess(reference, wire, requests, kinds)
    )


def _tokens(reference: SpeechReference, requests: Sequence[SpeechRequest], kinds: Sides) -> Calibration:
    own = Variant(reference.dtype, reference.dtype)
    contexts = [Context(r.prompt_ids, reference.greedy(r.clip, own, TOKENS)) for r in requests]
    squares = _squares(reference, [c for c in contexts if c.output], (*kinds.allowed, *kinds.forbidden))
    noise = max(squares[variant.name] for variant in honest(reference.dtype))
    if not noise > 0:
        raise InfrastructureError(f"{reference.folder}: honest computations do not differ: nothing can be judged")
    ratios = {name: square / noise for name, square in squares.items()}
    highest = max((variant.name for variant in kinds.allowed), key=ratios.__getitem__)
    clear = [v.name for v in kinds.forbidden if ratios[v.name] > SEPARABLE * ratios[highest]]
    needed = [v.name for v in kinds.forbidden if isinstance(v, Hearing) or v.skipped is not None]
    if hidden := [name for name in needed if name not in clear]:
        raise InfrastructureError(f"{reference.folder}: {hidden[0]} does not show in this model's logits ({ratios})")
    return Calibration(
        sigma=noise**0.5, ratios=ratios, allowed=highest, nearest=min(clear, key=ratios.__getitem__),
        unseparated=tuple(v.name for v in kinds.forbidden if v.name not in clear),
    )  # fmt: skip


def _squares(reference: SpeechReference, contexts: Sequence[Context], variants: Sequence[Variant]) -> dict[str, float]:
    """Mean squared logprob error of each variant over the reference's likeliest ids."""
    errors: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _, (true, *blocks) in reference.walk(contexts, (REFERENCE, *variants)):
        top = np.argsort(-true, axis=1)[:, :TOP]
        truth = logprobs_at(true, top)
        for variant, block in zip(variants, blocks, strict=True):
            errors[variant.name].append(float(np.square(logprobs_at(block, top) - truth).mean()))
    return {name: float(np.mean(values)) for name, values in errors.items()}


def _excess(
    reference: SpeechReference, wire: SpeechWire, requests: Sequence[SpeechRequest], kinds: Sides
) -> float | None:
    """Half the way from honest word errors to those of the nearest forbidden computation of the structure or audio.

    None where that makes no more word errors than honest computation does.
    """
    truths = transcripts(reference, wire, requests, REFERENCE)
    words = max(1, sum(len(truth.split()) for truth in truths))

    def rate(variant: Variant) -> float:
        return float(word_errors(truths, transcripts(reference, wire, requests, variant)).sum() / words)

    floor = max(rate(variant) for variant in honest(reference.dtype))
    gross = min(rate(v) for v in kinds.forbidden if isinstance(v, Hearing) or v.skipped is not None)
    return (gross - floor) / 2 if gross > floor else None


def _path(reference: SpeechReference, wire: SpeechWire) -> Path:
    speech = wire.target.speech.model_dump(mode="json")
    stated = json.dumps([VERSION, reference.digest, reference.dtype, wire.target.rules.quantization, CLIPS, speech])
    # What is said may come from a data set, and words tell more of it than of made-up sound.
    stated += os.environ.get(DATA, "")
    return cache_root() / "calibration" / f"speech-{hashlib.sha256(stated.encode()).hexdigest()[:24]}.json"
