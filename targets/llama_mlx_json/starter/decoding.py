"""The model, one token at a time: logits, the grammar's mask, and the choice of the next token."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llguidance
import numpy as np
import torch

import quantised

COMPACT = {"item_separator": ",", "key_separator": ":", "whitespace_flexible": False}


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the next token is chosen; `bias` is added to the logits before anything else."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    bias: tuple[tuple[int, float], ...] = ()
    seed: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What one step added: ids, and the logits [vocabulary] that each was chosen from."""

    ids: list[int]
    logits: list[np.ndarray]


class Grammar:
    """What a JSON Schema allows next, in compact JSON."""

    def __init__(self, tokens: Any, schema: dict[str, Any], ends: frozenset[int], size: int) -> None:
        """ValueError when the schema is none."""
        self._tokens, self._ends, self._size = tokens, ends, size
        grammar = llguidance.LLMatcher.grammar_from_json_schema({**schema, "x-guidance": COMPACT})
        self._matcher = llguidance.LLMatcher(tokens, grammar)
        if self._matcher.is_error():
            raise ValueError(f"the schema cannot be used: {self._matcher.get_error()}")

    def mask(self) -> np.ndarray:
        """The tokens [vocabulary] that may come next."""
        if self._matcher.is_stopped():
            found = np.zeros(self._size, dtype=bool)
            found[sorted(self._ends)] = True
            return found
        return np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[: self._size] > 0

    def take(self, token: int) -> None:
        """Go on behind a token."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


class Decoder:
    """One sequence after the other, by Transformers, in the precision that the weights were quantised from."""

    def __init__(self, folder: Path) -> None:
        """Read weights and tokenizer; on a GPU where there is one."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        ends = config["eos_token_id"]
        self.ends = frozenset(ends if isinstance(ends, list) else [ends])
        self.size, self.context = config["vocab_size"], config["max_position_embeddings"]
        self._device = "mps" if torch.backends.mps.is_available() else "cpu"
        if self._device == "cpu":
            torch.set_num_threads(1)
        self._net = quantised.load(folder, torch.bfloat16).to(self._device)
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self._tokens = llguidance.LLTokenizer(text, n_vocab=self.size, eos_token=sorted(self.ends))

    def grammar(self, schema: dict[str, Any]) -> Grammar:
        """The grammar of a schema; ValueError when it is none."""
        return Grammar(self._tokens, schema, self.ends, self.size)

    def steps(self, prompt: list[int], choosing: Choosing, grammar: Grammar | None) -> Iterator[Step]:
        """Steps without end; whoever takes them stops."""
        draws = np.random.default_rng(choosing.seed)
        given, cache = prompt, None
        while True:
            with torch.inference_mode():
                ids = torch.tensor([given], device=self._device)
                out = self._net(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            logits = out.logits[0, -1].float().cpu().numpy()
            token = chosen(logits, choosing, draws, grammar.mask() if grammar else None)
            if grammar:
                grammar.take(token)
            yield Step([token], [logits])
            given = [token]


def logprobs(logits: np.ndarray) -> np.ndarray:
    """Logits as natural log-probabilities."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return wide - np.log(np.exp(wide).sum())


def chosen(logits: np.ndarray, choosing: Choosing, draws: np.random.Generator, mask: np.ndarray | None) -> int:
    """One id: bias, mask, temperature, top_k, then top_p."""
    wide = logits.astype(np.float64)
    for token, bias in choosing.bias:
        wide[token] += bias
    if mask is not None:
        wide = np.where(mask, wide, -np.inf)
    if choosing.temperature == 0:
        return int(wide.argmax())
    order = np.argsort(-wide)
    weights = np.exp((wide[order] - wide[order[0]]) / choosing.temperature)
    if choosing.top_k > 0:
        weights[choosing.top_k :] = 0
    before = np.cumsum(weights) - weights
    weights[before >= choosing.top_p * weights.sum()] = 0
    return int(draws.choice(order, p=weights / weights.sum()))
