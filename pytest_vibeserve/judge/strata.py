"""Answers sorted by what a server could treat differently: kinds of request, and how sure the model is of a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.ratio import Floats


class Part(Protocol):
    """Positions of one answer: `margins` [n] of the candidate and `honest_margins` [variants, n], in logits."""

    @property
    def margins(self) -> Floats:
        """How far below the reference's best each token lies."""

    @property
    def honest_margins(self) -> Floats:
        """The same of what each honest variant would have chosen."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Some positions of one answer."""

    margins: Floats
    honest_margins: Floats


def by_request(evidence: Sequence[Evidence]) -> dict[str, list[Evidence]]:
    """Evidence by what a server could tell its requests apart by."""
    found: dict[str, list[Evidence]] = {}
    longest = np.median([len(item.context.prompt) for item in evidence])
    for item in evidence:
        request, long = item.request, len(item.context.prompt) > longest
        found.setdefault("with logprobs" if request.logprobs is not None else "without logprobs", []).append(item)
        found.setdefault("streamed" if request.stream else "whole", []).append(item)
        found.setdefault("with long prompts" if long else "with short prompts", []).append(item)
        found.setdefault(f"of kind {request.kind}", []).append(item)
    return found


def by_certainty(evidence: Sequence[Evidence]) -> dict[str, list[Positions]]:
    """Positions in three equal parts by the probability of the reference's best token; early and late ones apart.

    A server that leaves early on easy tokens, or whose cache fades with length, errs in one part only.
    """
    sure = np.concatenate([item.truth[:, 0] for item in evidence])
    low, high = np.quantile(sure, [1 / 3, 2 / 3])
    half = np.median(np.concatenate([np.arange(len(item.margins)) for item in evidence]))
    found: dict[str, list[Positions]] = {}
    for item in evidence:
        best, place = item.truth[:, 0], np.arange(len(item.margins))
        masks = {
            "that are hard": best <= low,
            "that are neither hard nor easy": (best > low) & (best <= high),
            "that are easy": best > high,
            "early in the answer": place < half,
            "late in the answer": place >= half,
        }
        for name, mask in masks.items():
            if mask.any():
                found.setdefault(name, []).append(Positions(item.margins[mask], item.honest_margins[:, mask]))
    return found
