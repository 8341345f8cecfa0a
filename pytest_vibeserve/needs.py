"""What an answer takes at least, whatever serves it: operations, and how often the weights are read, by the model.

What is left out (attention over the context, activations, convolutions, an image's decoder) only makes the true need
larger.  A model of a kind that is not known here has no needs, and what is measured of it has no bound.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_vibeserve.ceiling import Cost, cost, tensors
from pytest_vibeserve.completions import Answer
from pytest_vibeserve.integrity import Run
from pytest_vibeserve.modalities.image.wire import ImageRequest
from pytest_vibeserve.modalities.speech.wire import FIRST_SHARE, SpeechRequest

ENCODER_STRIDES = 4
"""Frames of Moonshine Streaming that its two convolutions make one of."""


@dataclass(frozen=True, slots=True)
class Need:
    """Operations of an answer, those of them before its first token, and readings of the weights one after another."""

    operations: float = 0.0
    first: float = 0.0
    passes: float = 0.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What any answer of one model takes; `step_bytes` of weights are read by a pass that serves so many at once."""

    weight_bytes: int
    step_bytes: Callable[[float], float]
    of: Callable[[Run, Answer], Need]
    told: str


def needs(model: Path, modality: str) -> Needs | None:
    """The needs of a model's answers by its config and the headers of its weights; None for an unknown kind."""
    if modality in ("text", "chat-json"):
        return _of_text(cost(model))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    make = {"moonshine_streaming": _of_speech, "show_o2": _of_images}.get(config.get("model_type", ""))
    return make(model, config) if make else None


def _of_text(work: Cost) -> Needs:
    def of(run: Run, answer: Answer) -> Need:
        prompt = run.new_prompt(answer)
        first = work.operations(prompt, 1) if prompt else 0.0
        if answer.request.is_constrained:
            return Need(first, first, 1.0)
        return Need(work.operations(prompt, answer.tokens), first, answer.tokens / max(1, len(answer.choices)))

    told = f"{work.weight_bytes / 1e6:,.3g} MB of weights, {work.operations_per_token / 1e6:,.3g} Mop a token"
    return Needs(work.weight_bytes, work.step_bytes, of, told)


def _of_speech(model: Path, config: dict[str, Any]) -> Needs:
    """The encoder and the decoder's view of it for every frame, the decoder for every token; the two in turn.

    A stream's first transcript needs its first frame, and its last one a token after the end of its audio.
    """
    per_frame = per_token = token_bytes = 0
    for name, elements, size in tensors(model):
        parts = name.split(".")
        if "encoder" in parts or name.endswith(("encoder_attn.k_proj.weight", "encoder_attn.v_proj.weight")):
            per_frame += 2 * elements
        elif "layers" in parts or "proj_out" in parts:
            per_token, token_bytes = per_token + 2 * elements, token_bytes + size
    rate = 1000 / config["encoder_config"]["frame_ms"] / ENCODER_STRIDES

    def of(run: Run, answer: Answer) -> Need:
        request = answer.request
        assert isinstance(request, SpeechRequest)
        if answer.is_streamed:
            heard_s = FIRST_SHARE * min(request.chunk_s, request.clip.seconds)
            return Need(per_token, int(heard_s * rate) * per_frame + per_token, 1.0)
        frames = int(request.clip.seconds * rate)
        return Need(frames * per_frame + answer.tokens * per_token, 0.0, answer.tokens)

    told = (
        f"{rate * per_frame / 1e6:,.3g} Mop a second of audio, {per_token / 1e6:,.3g} Mop and "
        f"{token_bytes / 1e6:,.3g} MB a token"
    )
    return Needs(token_bytes, lambda _: float(token_bytes), of, told)


def _of_images(model: Path, config: dict[str, Any]) -> Needs:
    """Every patch through all layers for each step, once with the words and, where guided, once without them.

    The layers that see the noisy image alone serve both.
    """
    worded = alone = size_of_pass = 0
    for name, elements, size in tensors(model):
        if ".adaLN" in name or not name.startswith(("showo.model.layers.", "diffusion_head_a.", "und_trans.layers.")):
            continue
        size_of_pass += size
        if name.startswith("und_trans."):
            alone += 2 * elements
        else:
            worded += 2 * elements

    def of(run: Run, answer: Answer) -> Need:
        request = answer.request
        assert isinstance(request, ImageRequest)
        _, rows, columns = request.shape
        patches = (rows // config["patch"]) * (columns // config["patch"])
        passes = 1 if request.guidance == 1 else 2
        return Need(float(request.steps * patches * (passes * worded + alone)), 0.0, float(request.steps))

    told = f"{(2 * worded + alone) / 1e6:,.3g} Mop a patch and step, {size_of_pass / 1e6:,.3g} MB of weights"
    return Needs(size_of_pass, lambda _: float(size_of_pass), of, told)
