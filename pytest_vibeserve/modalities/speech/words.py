"""Word errors, by jiwer: a candidate may have no more of them than honest computation has, up to what is no harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.errors import UsageError

RESAMPLES = 4000
TAIL = 0.01


@dataclass(frozen=True, slots=True)
class Excess:
    """WER of a candidate less that of honest computation on the same clips, with its bootstrap interval (98 %)."""

    point: float
    low: float
    high: float

    def said(self, limit: float) -> Literal["pass", "fail", "undecided"]:
        """Non-inferior when the upper end lies below the limit, inferior when the lower end lies above it."""
        if self.low > limit:
            return "fail"
        return "pass" if self.high < limit else "undecided"


def word_errors(truths: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
    """Substituted, inserted and left out words of each text, in their order."""
    try:
        import jiwer
    except ImportError as error:
        raise UsageError(f"word errors need {error.name}: pip install 'pytest-vibeserve[asr]'") from error
    found = []
    for truth, text in zip(truths, texts, strict=True):
        if not truth.split():
            found.append(float(len(text.split())))
            continue
        counts = jiwer.process_words(truth, text)
        found.append(float(counts.substitutions + counts.insertions + counts.deletions))
    return np.asarray(found)


def excess(truths: Sequence[str], candidate: Sequence[str], honest: Sequence[Sequence[str]]) -> Excess:
    """Paired bootstrap over clips of the difference to the worst of several honest transcripts of each clip."""
    words = np.array([max(1, len(truth.split())) for truth in truths], dtype=np.float64)
    own = word_errors(truths, candidate)
    floor = np.stack([word_errors(truths, texts) for texts in honest])
    size = len(truths)
    counts = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    drawn = (counts @ own - (counts @ floor.T).max(axis=1)) / (counts @ words)
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    return Excess(float((own.sum() - floor.sum(axis=1).max()) / words.sum()), float(low), float(high))
