"""Generation by Transformers: one choice at a time, on a thread of its own."""

import os
import queue
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from card import Card
from protocol import Request
from sampling import TokenLogprobs, token_logprobs
from sequence import Event, Sequence, begin
from text import Vocabulary

Deliver = Callable[[list[Event]], None]


class Generator:
    """Answers requests in their order; `deliver` gets the events of each step, on the generator's thread."""

    def __init__(self, folder: Path, card: Card, vocabulary: Vocabulary, deliver: Deliver) -> None:
        """Load the model and begin to wait for requests."""
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
        self._model.generation_config.eos_token_id = None
        self._card = card
        self._vocabulary = vocabulary
        self._deliver = deliver
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        threading.Thread(target=self._run, name="generator", daemon=True).start()

    def submit(self, request: Request) -> None:
        """Queue a request; safe from any thread."""
        self._waiting.put(request)

    def cancel(self, request: Request) -> None:
        """Stop work for a request that has not been answered in full; safe from any thread."""
        self._cancelled.add(request.id)

    def _run(self) -> None:
        try:
            while True:
                request = self._waiting.get()
                for sequence in begin(request, self._vocabulary, self._card.eos_ids):
                    self._generate(sequence)
                self._cancelled.discard(request.id)
        finally:
            # Without this thread every request would hang: ending the process makes the failure visible.
            os.kill(os.getpid(), signal.SIGTERM)

    @torch.inference_mode()
    def _generate(self, sequence: Sequence) -> None:
        if sequence.request.id in self._cancelled:
            return
        prompt = torch.tensor([sequence.tokens])
        choice = _Choice(sequence, self._cancelled)
        self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=sequence.request.max_tokens,
            do_sample=False,
            logits_processor=[choice],
            stopping_criteria=[_Ended(choice)],
            streamer=_Stream(choice, self._deliver),
        )


class _Choice(LogitsProcessor):
    """Chooses each token of a sequence by its own sampler, in place of the sampling of `generate`."""

    def __init__(self, sequence: Sequence, cancelled: set[str]) -> None:
        self.sequence = sequence
        self.logprobs: TokenLogprobs | None = None
        self._cancelled = cancelled

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave only the chosen token possible."""
        logits = scores[0].float().numpy()
        token = self.sequence.sampler.choose(logits)
        count = self.sequence.request.logprobs
        self.logprobs = None if count is None else token_logprobs(logits, token, count)
        chosen = torch.full_like(scores, -torch.inf)
        chosen[0, token] = 0.0
        return chosen

    @property
    def ended(self) -> bool:
        """Whether no further token is wanted."""
        return self.sequence.finished or self.sequence.request.id in self._cancelled


class _Stream(BaseStreamer):
    """Turns each new token into an event."""

    def __init__(self, choice: _Choice, deliver: Deliver) -> None:
        self._choice = choice
        self._deliver = deliver
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt first, then one token a call."""
        if self._prompt_seen:
            self._deliver([self._choice.sequence.accept(int(value.item()), self._choice.logprobs)])
        self._prompt_seen = True

    def end(self) -> None:
        """Do nothing: the last event has said why the choice ended."""


class _Ended(StoppingCriteria):
    """Ends `generate` when the choice has ended."""

    def __init__(self, choice: _Choice) -> None:
        self._choice = choice

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Return the state of the one row."""
        return torch.tensor([self._choice.ended])
