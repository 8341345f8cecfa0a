"""Generation by Transformers: what waits is answered together, one batch after the other, on a thread of its own."""

import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import LogitsProcessor, OlmoHybridForCausalLM, StoppingCriteria

from card import Card
from protocol import Request
from sampling import Logits, token_logprobs
from sequence import Event, Sequence, begin
from text import Vocabulary

Deliver = Callable[[list[Event]], None]

ROWS = {"cuda": 2, "cpu": 1}
"""Choices that are answered together; on CPU one after the other."""

THREADS = 8
"""Threads that choose tokens, each for some rows."""


class Generator:
    """Answers requests in their order; `deliver` gets the events of each step, on the generator's thread."""

    def __init__(
        self, folder: Path, card: Card, vocabulary: Vocabulary, deliver: Deliver, device: str = "", rows: int = 0
    ) -> None:
        """Load the model, onto a GPU where there is one, and begin to wait for requests."""
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._rows = rows or ROWS[self._device]
        self._model: Any = OlmoHybridForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
        self._model.to(self._device)
        self._model.generation_config.eos_token_id = None
        self._card = card
        self._vocabulary = vocabulary
        self._deliver = deliver
        self._waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._choosers = ThreadPoolExecutor(THREADS)
        threading.Thread(target=self._run, name="generator", daemon=True).start()

    def submit(self, request: Request) -> None:
        """Queue a request; safe from any thread."""
        self._waiting.put(request)

    def cancel(self, request: Request) -> None:
        """Stop work for a request that has not been answered in full; safe from any thread."""
        self._cancelled.add(request.id)

    def _run(self) -> None:
        known: deque[Sequence] = deque()
        try:
            while True:
                while not known or not self._waiting.empty():
                    known += begin(self._waiting.get(), self._vocabulary, self._card.eos_ids)
                batch = [known.popleft() for _ in range(min(self._rows, len(known)))]
                self._generate([one for one in batch if one.request.id not in self._cancelled])
                left = {one.request.id for one in known}
                self._cancelled.difference_update({one.request.id for one in batch} - left)
        finally:
            # Without this thread every request would hang: ending the process makes the failure visible.
            os.kill(os.getpid(), signal.SIGTERM)

    @torch.inference_mode()
    def _generate(self, sequences: list[Sequence]) -> None:
        if not sequences:
            return
        width = max(len(one.tokens) for one in sequences)
        prompts, masks = zip(*(self._row(one, width) for one in sequences), strict=True)
        choices = [_Choice(one, self._cancelled) for one in sequences]
        self._model.generate(
            torch.cat(prompts).to(self._device),
            attention_mask=torch.cat(masks).to(self._device),
            max_new_tokens=max(one.request.max_tokens for one in sequences),
            do_sample=False,
            logits_processor=[_Chosen(choices, self._deliver, self._choosers)],
            stopping_criteria=[_Ended(choices)],
        )

    def _row(self, sequence: Sequence, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a prompt [1, width] behind padding, and which of its places are no padding."""
        prompt = torch.tensor([sequence.tokens])
        missing = (width - prompt.shape[1], 0)
        return pad(prompt, missing), pad(torch.ones_like(prompt), missing)


class _Choice:
    """One row: chooses its tokens by its own sampler."""

    def __init__(self, sequence: Sequence, cancelled: set[str]) -> None:
        self.sequence = sequence
        self._cancelled = cancelled

    @property
    def ended(self) -> bool:
        """Whether no further token is wanted."""
        return self.sequence.finished or self.sequence.request.id in self._cancelled

    def next(self, logits: Logits) -> Event:
        """Return what the next token adds; `logits` is the row's own."""
        token = self.sequence.sampler.choose(logits)
        count = self.sequence.request.logprobs
        return self.sequence.accept(token, None if count is None else token_logprobs(logits, token, count))


class _Chosen(LogitsProcessor):
    """Takes the place of the sampling of `generate`, and tells the events of each step."""

    def __init__(self, choices: list[_Choice], deliver: Deliver, choosers: ThreadPoolExecutor) -> None:
        self._choices = choices
        self._deliver = deliver
        self._choosers = choosers

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave only the chosen token of each row possible; of a row that has ended any."""
        logits: Logits = scores.float().cpu().numpy()
        live = [row for row, choice in enumerate(self._choices) if not choice.ended]
        spread = self._choosers.map if len(live) > 1 else map
        events = list(spread(lambda row: self._choices[row].next(logits[row]), live))
        self._deliver(events)
        chosen = torch.zeros(len(scores), dtype=torch.long)
        for row, event in zip(live, events, strict=True):
            chosen[row] = event.token_ids[-1]
        only = torch.full_like(scores, -torch.inf)
        return only.scatter_(1, chosen[:, None].to(scores.device), 0.0)


class _Ended(StoppingCriteria):
    """Ends `generate` when every choice has ended."""

    def __init__(self, choices: list[_Choice]) -> None:
        self._choices = choices

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Return the state of each row."""
        return torch.tensor([choice.ended for choice in self._choices], device=input_ids.device)
