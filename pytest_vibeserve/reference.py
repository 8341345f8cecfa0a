"""The reference implementation: what the model itself says at every generated position of an answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.errors import UsageError
from pytest_vibeserve.library import imported, own
from pytest_vibeserve.long_attention import fitting
from pytest_vibeserve.placement import Residence
from pytest_vibeserve.target import Target
from pytest_vibeserve.variants import Variant, applied, decoder_layers
from pytest_vibeserve.weights import INSTALL, model_digest, model_folder

if TYPE_CHECKING:
    import torch

__all__ = ["Context", "Logits", "Reference", "model_digest", "model_folder"]

Logits = NDArray[np.float32]
TOKENS_PER_BATCH = 4096
NUMBERS_PER_BATCH = 64 * 2**20
"""Logits (4 bytes each, over all variants) that one batch may hold at a time."""

THREADED_PARAMETERS = 4_000_000
"""Below this many parameters a matrix product is over before a second thread has woken up."""


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt and the answer whose every token is to be looked at; ids, each at least one token long."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """What the model is fed: all but the last token of the answer."""
        return self.prompt + self.output[:-1]


class Reference:
    """The model of a target, loaded by the target's own `reference.py:load` or else by Transformers."""

    def __init__(self, folder: Path, target: Target) -> None:
        """Bind to a model folder; weights are read on first use, once for each precision."""
        self.folder, self.dtype = folder, target.model.arithmetic
        self.digest = model_digest(folder)
        self._load = _loader(target.folder / "reference.py")
        self._residence = Residence(target.hardware.backend)
        self._models: dict[tuple[str, str], Any] = {}

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return len(decoder_layers(self.model("float32", "sdpa")))

    def model(self, dtype: str, attention: str) -> Any:
        """The loaded model in one precision, attending by one implementation, where it computes."""
        self._residence.come()
        held = self._models.get((dtype, ""))
        if held is not None:
            held.set_attn_implementation(attention)
            return held
        if (dtype, attention) not in self._models:
            model = self._load(self.folder, dtype, attention).eval()
            shared = hasattr(model, "set_attn_implementation")
            self._models[dtype, "" if shared else attention] = self._residence.admitted(model)
            return model
        return self._models[dtype, attention]

    def walk(
        self, contexts: Sequence[Context], variants: Sequence[Variant]
    ) -> Iterator[tuple[int, tuple[Logits, ...]]]:
        """For each context, in some order: its index, and for each variant the logits [len(output), vocabulary].

        Batches are right-padded, longest first: in a causal model no position sees what follows it, so no mask is
        needed.  The head is applied at the generated positions only.  An array lives until the next batch.
        """
        import torch

        first = self.model(variants[0].dtype, variants[0].attention)
        torch.set_num_threads((os.cpu_count() or 1) if first.num_parameters() > THREADED_PARAMETERS else 1)
        vocabulary = first.config.vocab_size
        rows_limit = max(1, NUMBERS_PER_BATCH // (vocabulary * len(variants)))
        for batch in _batches(contexts, rows_limit):
            with torch.inference_mode():
                blocks = [self._forward([contexts[index] for index in batch], variant) for variant in variants]
            start = 0
            for index in batch:
                end = start + len(contexts[index].output)
                yield index, tuple(block[start:end] for block in blocks)
                start = end

    def continued(self, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[Context]:
        """The reference's own greedy continuations of prompts of one length, in the model's own precision."""
        import torch

        model = self.model(self.dtype, "sdpa")
        given = torch.tensor(prompts, device=model.device)
        with torch.inference_mode():
            whole = model.generate(
                given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=tokens,
                min_new_tokens=tokens, pad_token_id=0,
            ).tolist()  # fmt: skip
        return [Context(prompt, tuple(row[len(prompt) :])) for prompt, row in zip(prompts, whole, strict=True)]

    def _forward(self, contexts: Sequence[Context], variant: Variant) -> Logits:
        import torch

        width = max(len(context.inputs) for context in contexts)
        model = self.model(variant.dtype, fitting(variant.attention, width))
        ids = torch.zeros(len(contexts), width, dtype=torch.long)
        rows: list[tuple[int, int]] = []
        for row, context in enumerate(contexts):
            ids[row, : len(context.inputs)] = torch.tensor(context.inputs)
            rows += [(row, position) for position in range(len(context.prompt) - 1, len(context.inputs))]
        where = torch.tensor(rows, device=model.device).T
        arguments: dict[str, Any] = {"input_ids": ids.to(model.device), "use_cache": False}
        if variant.shift:
            arguments |= _shifted(contexts, width, variant.shift, model.device)
        with ExitStack() as stack:
            stack.enter_context(applied(model, variant))
            head = model.get_output_embeddings()
            stack.callback(head.register_forward_pre_hook(_selecting(where)).remove)
            logits: torch.Tensor = model(**arguments).logits[0]
        found: Logits = logits.float().cpu().numpy()
        return found


def _selecting(where: torch.Tensor) -> Callable[[Any, tuple[torch.Tensor, ...]], tuple[torch.Tensor]]:
    def select(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (given[0][where[0], where[1]].unsqueeze(0),)

    return select


def _shifted(contexts: Sequence[Context], width: int, shift: int, device: Any) -> dict[str, torch.Tensor]:
    import torch

    positions = torch.arange(width).repeat(len(contexts), 1)
    for row, context in enumerate(contexts):
        positions[row, len(context.prompt) :] += shift
    # Transformers would take a jump in bare positions for the start of another sequence; a mask says it is none.
    return {"position_ids": positions.to(device), "attention_mask": torch.ones_like(positions).to(device)}


def _batches(contexts: Sequence[Context], rows_limit: int) -> Iterator[list[int]]:
    batch: list[int] = []
    width = rows = 0
    for index in sorted(range(len(contexts)), key=lambda index: -len(contexts[index].inputs)):
        context = contexts[index]
        full = (len(batch) + 1) * width > TOKENS_PER_BATCH or rows + len(context.output) > rows_limit
        if batch and full:
            yield batch
            batch, rows = [], 0
        width = width if batch else len(context.inputs)
        batch.append(index)
        rows += len(context.output)
    if batch:
        yield batch


def _loader(path: Path) -> Callable[[Path, str, str], Any]:
    if path.is_file():
        load = getattr(imported(path, INSTALL), "load", None)
        if callable(load):
            return _quietly(lambda *given: own(path, lambda: load(*given), INSTALL))
    return _quietly(_from_transformers)


def _quietly(load: Callable[[Path, str, str], Any]) -> Callable[[Path, str, str], Any]:
    def loaded(folder: Path, dtype: str, attention: str) -> Any:
        from transformers.utils import logging

        bars: Any = logging
        shown = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            return load(folder, dtype, attention)
        finally:
            if shown:
                bars.enable_progress_bar()

    return loaded


def _from_transformers(folder: Path, dtype: str, attention: str) -> Any:
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise UsageError(f"the reference needs {error.name}: {INSTALL}") from error
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
    )
