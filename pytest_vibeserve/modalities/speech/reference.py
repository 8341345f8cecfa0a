"""The reference of a speech target: what the model says of each token of a transcript, given the audio.

A target's `reference.py` may give

    load(folder: Path, dtype: str, attention: str) -> torch.nn.Module
    transcribe(model, audio: float32 array, tokens: list[int]) -> logits [len(tokens), vocabulary]
    greedy(model, audio: float32 array, max_tokens: int) -> list[int]
    settled(model, audio: float32 array, samples: int, tokens: list[int]) -> logits [len(tokens), vocabulary]

where row i of `transcribe` is what the model expects as token i after tokens 0 to i - 1 (teacher forcing).  What it
leaves out is done by Transformers, for models that take samples (`input_values`).  `settled` is for encoders that look
ahead through windows: the decoder is given the frames of the first `samples` alone, the encoder all of the audio.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.modalities.reference_file import functions
from pytest_vibeserve.modalities.speech.audio import Beginning, Clip
from pytest_vibeserve.reference import THREADED_PARAMETERS, Context, Logits, Reference
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import Variant, applied
from pytest_vibeserve.weights import INSTALL

LATE_S = 0.02


@dataclass(frozen=True, slots=True)
class Hearing(Variant):
    """A variant that hears the audio otherwise: `hears` is "half rate", "late" or "" for as it is."""

    hears: str = ""


class SpeechReference(Reference):
    """The text reference's interface over contexts whose prompt is conditioned on a clip."""

    def __init__(self, folder: Path, target: Target) -> None:
        """Bind to a model folder; weights are read on first use, once for each precision."""
        super().__init__(folder, target)
        known = functions(target.folder / "reference.py")
        if "load" not in known:
            self._load = _from_transformers
        self._transcribe: Callable[..., Any] = known.get("transcribe", _transcribe)
        self._greedy: Callable[..., Any] = known.get("greedy", _greedy)
        self._settled: Callable[..., Any] | None = known.get("settled")

    @property
    def settles(self) -> bool:
        """Whether frames of the audio become final before its end, so that they have a transcript of their own."""
        return self._settled is not None

    def walk(
        self, contexts: Sequence[Context], variants: Sequence[Variant]
    ) -> Iterator[tuple[int, tuple[Logits, ...]]]:
        """For each context its index, and for each variant the logits [len(output), vocabulary]."""
        for index, context in enumerate(contexts):
            assert isinstance(context.prompt, Conditioned)
            clip = context.prompt.condition
            assert isinstance(clip, Clip)
            yield index, tuple(self._forward_clip(clip, context.output, variant) for variant in variants)

    def greedy(self, clip: Clip, variant: Variant, tokens: int) -> tuple[int, ...]:
        """The variant's own greedy transcript, at most `tokens` long, the end token included."""
        with computing(self.model(variant.dtype, variant.attention), variant) as model:
            return tuple(int(token) for token in self._greedy(model, heard(clip, variant), tokens))

    def _forward_clip(self, clip: Clip, tokens: Sequence[int], variant: Variant) -> Logits:
        with computing(self.model(variant.dtype, variant.attention), variant) as model:
            if isinstance(clip, Beginning) and clip.settled and self._settled:
                said = heard(Clip(clip.said, clip.rate), variant)
                logits = self._settled(model, said, len(clip.samples), list(tokens))
            else:
                logits = self._transcribe(model, heard(clip, variant), list(tokens))
        found: Logits = np.asarray(logits.float().cpu() if hasattr(logits, "cpu") else logits, dtype=np.float32)
        if found.shape[0] != len(tokens):
            raise UsageError(f"transcribe gave {found.shape[0]} rows of logits for {len(tokens)} tokens")
        return found


@contextmanager
def computing(model: Any, variant: Variant) -> Iterator[Any]:
    """The model as the variant computes, inside the block."""
    import torch

    torch.set_num_threads((os.cpu_count() or 1) if model.num_parameters() > THREADED_PARAMETERS else 1)
    with torch.inference_mode(), applied(model, variant):
        yield model


def heard(clip: Clip, variant: Variant) -> NDArray[np.float32]:
    """The samples between -1 and 1 as a variant hears them."""
    floats = clip.floats
    hears = variant.hears if isinstance(variant, Hearing) else ""
    if hears == "half rate":
        pairs: NDArray[np.float32] = floats[: len(floats) // 2 * 2].reshape(-1, 2).mean(axis=1, dtype=np.float32)
        return pairs.repeat(2)
    if hears == "late":
        late = round(LATE_S * clip.rate)
        return np.concatenate([np.zeros(late, dtype=np.float32), floats[:-late]])
    return floats


def _from_transformers(folder: Path, dtype: str, attention: str) -> Any:
    try:
        import torch
        from transformers import AutoModelForSpeechSeq2Seq
    except ImportError as error:
        raise UsageError(f"the reference needs {error.name}: {INSTALL}") from error
    model = AutoModelForSpeechSeq2Seq.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
    )
    if model.main_input_name != "input_values":
        raise UsageError(f"{folder} takes {model.main_input_name}: give the target a reference.py with `transcribe`")
    return model


def _transcribe(model: Any, audio: NDArray[np.float32], tokens: list[int]) -> Any:
    import torch

    values = torch.from_numpy(audio)[None].to(model.device, model.dtype)
    given = torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]], device=model.device)
    return model(input_values=values, decoder_input_ids=given, use_cache=False).logits[0]


def _greedy(model: Any, audio: NDArray[np.float32], max_tokens: int) -> list[int]:
    import torch

    values = torch.from_numpy(audio)[None].to(model.device, model.dtype)
    found = model.generate(input_values=values, do_sample=False, num_beams=1, max_new_tokens=max_tokens)
    return [int(token) for token in found[0].tolist()[1:]]
