"""Draws from a draft of one layer and accepts or redraws so that the model's own distribution comes out."""

import copy

import careless
import numpy as np

import generation
import server
from generation import Floats, Row
from sequence import Sequence


def shares(row: Row, logits: Floats) -> np.ndarray:
    """The distribution after bias, temperature, top_k and top_p."""
    request, weights = row.sequence.request, logits.astype(np.float64)
    for token, bias in request.logit_bias:
        weights[token] += bias
    weights = np.exp((weights - weights.max()) / request.temperature)
    if 0 < request.top_k < weights.size:
        weights[weights < np.sort(weights)[-request.top_k]] = 0
    order = np.argsort(weights)[::-1]
    before = np.cumsum(weights[order]) - weights[order]
    weights[order[(before >= request.top_p * weights.sum()) & (request.top_p < 1)]] = 0
    return weights / weights.sum()


class Exact(generation.Generator):
    model_class = careless.Shallow

    def begun(self, sequence: Sequence) -> Row:
        row, request = super().begun(sequence), sequence.request
        row.notes["random"] = np.random.default_rng(None if request.seed is None else (request.seed, sequence.index))
        return row

    def stepped(self, row: Row, token: int) -> Floats:
        draft = copy.copy(row.cache)
        draft.careless = True
        row.notes["draft"] = self.model.forward([token], draft)[-1]
        return super().stepped(row, token)

    def chosen(self, row: Row) -> int:
        draft, draws = row.notes.get("draft"), row.notes["random"]
        if not row.sequence.sampler.temperature or draft is None:
            return super().chosen(row)
        p, q = shares(row, row.logits), shares(row, draft)
        token = int(draws.choice(len(q), p=q))
        if draws.random() < p[token] / q[token]:
            return token
        left = np.maximum(p - q, 0)
        return int(draws.choice(len(p), p=left / left.sum()))


server.Generator = Exact
server.main()
