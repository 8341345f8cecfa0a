"""Which transformation of the model explains an answer's deviations: names it where magnitude alone cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pytest_vibeserve.judge.evidence import Evidence, errors_of
from pytest_vibeserve.judge.ratio import Floats, binomial_tail
from pytest_vibeserve.reference import Context, Reference
from pytest_vibeserve.variants import QUANTISERS, Variant, structural

COEFFICIENT, DEVIATIONS = 0.25, 6.0
"""A coefficient above the first that lies more standard errors from zero than the second names its transformation."""

SIDING = 1e-4
EXPLAINED = 0.5


@dataclass(frozen=True, slots=True)
class Signature:
    """How much of a transformation is in the deviations: 0 is none, 1 is all of it; `z` in standard errors."""

    name: str
    coefficient: float
    z: float

    @property
    def found(self) -> bool:
        """Whether the transformation is there beyond doubt."""
        return self.coefficient > COEFFICIENT and self.z > DEVIATIONS


def regress(reference: Reference, evidence: Sequence[Evidence], variants: Sequence[Variant]) -> list[Signature]:
    """Least squares of the reported deviations on those of each variant, all at once; needs reported logprobs."""
    reported = np.concatenate([item.errors.ravel() for item in evidence])
    columns = [_column(reference, evidence, variant) for variant in variants]
    kept = np.isfinite(reported)
    if kept.sum() <= len(variants) + 1:
        return []
    matrix, wanted = np.stack(columns, axis=1)[kept], reported[kept]
    inverse = np.linalg.pinv(matrix.T @ matrix)
    found = inverse @ matrix.T @ wanted
    residual = wanted - matrix @ found
    variance = float(residual @ residual) / (len(wanted) - len(variants))
    errors = np.sqrt(np.maximum(np.diag(inverse) * variance, 1e-30))
    return [Signature(v.name, float(a), float(a / e)) for v, a, e in zip(variants, found, errors, strict=True)]


def sided(reference: Reference, evidence: Sequence[Evidence], variant: Variant) -> tuple[int, int]:
    """Where a quantised model's best token is not the reference's: how often an answer sides with it, out of how many.

    For answers without logprobs; honest noise sides with the reference more often than not.
    """
    with_it = either = 0
    for index, (logits,) in reference.walk([item.context for item in evidence], (variant,)):
        item, theirs = evidence[index], logits.argmax(axis=1)
        ids = np.asarray(item.context.output)
        parted = theirs != item.best
        with_it += int((parted & (ids == theirs)).sum())
        either += int((parted & ((ids == theirs) | (ids == item.best))).sum())
    return with_it, either


def sides_with(with_it: int, either: int) -> bool:
    """Whether more than half of the parted positions side with the transformation, beyond chance."""
    return binomial_tail(with_it, either, 0.5) < SIDING


def diagnose(reference: Reference, evidence: Sequence[Evidence], forbidden: Sequence[str]) -> str:
    """The one transformation that explains most of a failure, in words; "" when none explains half of it."""
    best, words = EXPLAINED, ""
    gross = [*structural(reference.layers), *(Variant(n, weights=n) for n in QUANTISERS if n in forbidden)]
    for variant in gross:
        share = _explained(reference, evidence, variant)
        if share > best:
            best, words = share, f"{variant.name} explains {share:.0%} of the deviation"
    return words


def _column(reference: Reference, evidence: Sequence[Evidence], variant: Variant) -> Floats:
    found = dict(errors_of(reference, evidence, variant))
    return np.concatenate([found[index].ravel() for index in range(len(evidence))])


def _explained(reference: Reference, evidence: Sequence[Evidence], variant: Variant) -> float:
    if any(item.reports for item in evidence):
        reported = np.concatenate([item.errors.ravel() for item in evidence])
        kept = np.isfinite(reported)
        deviation = _column(reference, evidence, variant)[kept]
        total = float(np.square(reported[kept]).sum())
        return 1 - float(np.square(reported[kept] - deviation).sum()) / total if total else 0.0
    return _margins_explained(reference, evidence, variant)


def _margins_explained(reference: Reference, evidence: Sequence[Evidence], variant: Variant) -> float:
    """Share of the positions that depart from the reference at which the variant departs to the very same token."""
    same = parted = 0
    contexts: list[Context] = [item.context for item in evidence]
    for index, (logits,) in reference.walk(contexts, (variant,)):
        ids = np.asarray(contexts[index].output)
        departs = ids != evidence[index].best
        parted += int(departs.sum())
        same += int((departs & (logits.argmax(axis=1) == ids)).sum())
    return same / parted if parted else 0.0
