"""Choice of the next token from one row of logits, and the logprobs of that row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol import Request

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural log-probabilities under the model's own distribution: the chosen token and the most likely ones."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampler:
    """Draws the tokens of one choice: logit bias, temperature, top-k, then top-p."""

    def __init__(self, request: Request, index: int) -> None:
        """Seed the draws of choice `index`; without a seed they differ from run to run."""
        self.temperature = request.temperature
        self._top_k = request.top_k
        self._top_p = request.top_p
        self._bias_ids = np.array([token for token, _ in request.logit_bias], dtype=np.int64)
        self._bias = np.array([bias for _, bias in request.logit_bias], dtype=np.float32)
        self._random = np.random.default_rng(None if request.seed is None else (request.seed, index))

    @property
    def plain(self) -> bool:
        """Whether the choice is the largest of the untouched logits."""
        return self.temperature == 0 and not self._bias_ids.size

    def choose(self, logits: Logits) -> int:
        """Return the next token; `logits` is one row over the vocabulary and is not changed."""
        if self._bias_ids.size:
            logits = logits.copy()
            logits[self._bias_ids] += self._bias
        if self.temperature == 0:
            return int(logits.argmax())
        return self._draw(np.exp((logits.astype(np.float64) - logits.max()) / self.temperature))

    def _draw(self, weights: NDArray[np.float64]) -> int:
        """Draw from unnormalised weights, cut to the top-k and then to the nucleus that reaches top-p."""
        if 0 < self._top_k < weights.size:
            weights[weights < np.partition(weights, -self._top_k)[-self._top_k]] = 0.0
        if self._top_p < 1:
            order = np.argsort(weights)[::-1]
            before = np.cumsum(weights[order]) - weights[order]
            weights[order[before >= self._top_p * weights.sum()]] = 0.0
        cumulated = np.cumsum(weights)
        return int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))


def token_logprobs(logits: Logits, token: int, count: int) -> TokenLogprobs:
    """Return the logprob of `token` and of the `count` most likely tokens, most likely first."""
    row = logits.astype(np.float64)
    row -= row.max()
    row -= np.log(np.exp(row).sum())
    top = np.argpartition(row, -count)[-count:] if count else np.empty(0, dtype=np.int64)
    ranked = top[np.argsort(row[top])[::-1]]
    return TokenLogprobs(token, float(row[token]), tuple((int(one), float(row[one])) for one in ranked))
