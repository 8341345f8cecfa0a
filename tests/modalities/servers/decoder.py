"""Plain decoding of a text model, token by token, for the servers beside this file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

Mask = Callable[[list[int]], np.ndarray]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None


class Decoder:
    """One model in one precision; one sequence at a time."""

    def __init__(self, model: Path, dtype: str = "bfloat16", attention: str = "sdpa") -> None:
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(
            model, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
        ).eval()

    @torch.inference_mode()
    def tokens(self, prompt: list[int], limit: int, sampling: Sampling, mask: Mask | None) -> Iterator[Any]:
        """Each generated id with the logprobs [vocabulary] that it was chosen from; may be sent a forced id."""
        draws = np.random.default_rng(sampling.seed)
        given, cache, said = torch.tensor([prompt]), None, []
        while len(said) < limit:
            out = self.model(input_ids=given, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits = out.logits[0, -1].float().numpy().astype(np.float64)
            logprobs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            for token, bias in sampling.bias:
                logits[token] += bias
            if mask is not None:
                logits = np.where(mask(said), logits, -np.inf)
            said.append(chosen(logits, sampling, draws))
            yield said[-1], logprobs
            given = torch.tensor([[said[-1]]])


def chosen(logits: np.ndarray, sampling: Sampling, draws: np.random.Generator) -> int:
    """One id by temperature, then top_k, then top_p."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits)
    weights = np.exp((logits[order] - logits[order[0]]) / sampling.temperature)
    if sampling.top_k > 0:
        weights[sampling.top_k :] = 0
    before = np.cumsum(weights) - weights
    weights[before >= sampling.top_p * weights.sum()] = 0
    return int(draws.choice(order, p=weights / weights.sum()))
