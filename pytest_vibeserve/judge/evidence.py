"""What the reference says of an answer's tokens, beside what honest computations of the same would have said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.ratio import Floats
from pytest_vibeserve.reference import Context, Logits, Reference
from pytest_vibeserve.variants import REFERENCE, Variant
from pytest_vibeserve.workload import Request

TOP = 5
LARGEST_MARGIN = 2.0
"""A margin counts no more than this (logits) in a mean, so that a single token cannot decide for a thousand."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One choice of one answer, position by position (n of them), over the reference's own five likeliest ids.

    `margins` [n] says how far (logits) the reference puts each token below its best, `honest_margins` [variants, n]
    the same for the token that each honest variant would have chosen; `truth` [n, 5] are the reference's logprobs at
    `top` [n, 5], `honest_errors` [variants, n, 5] what the variants add to them, and `errors` [n, 5] what the server
    adds to them (NaN where it reported nothing).
    """

    request: Request
    choice: Choice
    context: Context
    margins: Floats
    honest_margins: Floats
    best: NDArray[np.int64]
    top: NDArray[np.int64]
    truth: Floats
    errors: Floats
    honest_errors: Floats

    @property
    def worst(self) -> float:
        """The largest margin of the answer, in logits."""
        return float(self.margins.max(initial=0.0))

    @property
    def reports(self) -> bool:
        """Whether the server reported logprobs here."""
        return bool(np.isfinite(self.errors).any())


def gather(reference: Reference, answers: Sequence[Answer], variants: Sequence[Variant]) -> list[Evidence]:
    """Evidence of every non-empty choice of whole answers, in their order, each in the context of its own prompt."""
    cases = [
        (answer.request, choice, Context(answer.request.prompt_ids, choice.ids))
        for answer in answers
        for choice in answer.choices
        if choice.ids and not answer.fault
    ]
    found: dict[int, Evidence] = {}
    if cases:
        for index, blocks in reference.walk([context for _, _, context in cases], (REFERENCE, *variants)):
            found[index] = _evidence(*cases[index], blocks)
    return [found[index] for index in range(len(cases))]


def _evidence(request: Request, choice: Choice, context: Context, blocks: tuple[Logits, ...]) -> Evidence:
    true, honest = blocks[0], blocks[1:]
    bias = bias_of(request, true.shape[1])
    top = np.argpartition(-true, TOP, axis=1)[:, :TOP] if true.shape[1] > TOP else np.argsort(-true, axis=1)
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(true, top, axis=1), axis=1), axis=1)
    truth = logprobs_at(true, top)
    biased = true if bias is None else true + bias
    rows, best = np.arange(len(true)), biased.max(axis=1)
    chosen = [(block if bias is None else block + bias).argmax(axis=1) for block in honest]
    return Evidence(
        request=request,
        choice=choice,
        context=context,
        margins=(best - biased[rows, np.asarray(context.output)]).astype(np.float64),
        honest_margins=_stacked([best - biased[rows, ids] for ids in chosen], best.shape),
        best=biased.argmax(axis=1),
        top=top,
        truth=truth,
        errors=_reported(choice, top) - truth,
        honest_errors=_stacked([logprobs_at(block, top) - truth for block in honest], truth.shape),
    )


def logprobs_at(logits: Logits, ids: NDArray[np.int64]) -> Floats:
    """Log probabilities (nats) [n, k] of the ids [n, k] under logits [n, vocabulary]."""
    largest = logits.max(axis=1, keepdims=True)
    total = largest + np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    found: Floats = (np.take_along_axis(logits, ids, axis=1) - total).astype(np.float64)
    return found


def errors_of(reference: Reference, evidence: Sequence[Evidence], variant: Variant) -> Iterator[tuple[int, Floats]]:
    """What another computation adds to the reference's logprobs: index into `evidence`, and errors [n, 5]."""
    for index, (logits,) in reference.walk([item.context for item in evidence], (variant,)):
        yield index, logprobs_at(logits, evidence[index].top) - evidence[index].truth


def bias_of(request: Request, size: int) -> Logits | None:
    """What a request adds to the logits [size] of every position, None where it adds nothing."""
    if not request.logit_bias:
        return None
    bias = np.zeros(size, dtype=np.float32)
    for token, value in request.logit_bias:
        bias[token] += value
    return bias


def _reported(choice: Choice, top: NDArray[np.int64]) -> Floats:
    values = np.full(top.shape, np.nan)
    for row, said in enumerate(choice.logprobs[: len(top)]):
        known = dict(said.top)
        values[row] = [known.get(int(token), np.nan) for token in top[row]]
    return values


def _stacked(parts: list[NDArray[np.floating]], shape: tuple[int, ...]) -> Floats:
    return np.stack(parts).astype(np.float64) if parts else np.zeros((0, *shape))
