"""Two arms where some block served nothing: said by which arm stands above the other, without a logarithm."""

from __future__ import annotations

import math
from collections.abc import Sequence

CHANCE = 1 / 6
"""How likely both blocks of one arm lie above both of the other when the four may change places: one way of six."""


def ratios(ours: tuple[float, float], theirs: tuple[float, float]) -> tuple[float, float]:
    """The smallest and the largest ratio of a block of ours to one of theirs.

    What two blocks without a number leave open is 0 below and infinity above.
    """
    if any(math.isnan(value) for value in (*ours, *theirs)):
        return 0.0, math.inf
    return _over(min(ours), max(theirs), 0.0), _over(max(ours), min(theirs), math.inf)


def is_enough(count: int, alpha: float) -> bool:
    """Whether so many quads, every one of which stands apart the same way, are no chance any more."""
    return CHANCE**count <= alpha


def bounds(seen: Sequence[tuple[float, float]], alpha: float) -> tuple[float, float]:
    """The gains that so many `ratios` leave possible, at the chance `alpha` on each side over all looks together.

    A gain of d is refused when ours stand above d times theirs in every quad, and likewise below: a stake that pays
    six for one with each such quad and is lost with the first other passes 1 / alpha with the chance alpha at most
    (Ville's inequality).
    """
    if not is_enough(len(seen), alpha):
        return 0.0, math.inf
    return min(least for least, _ in seen), max(most for _, most in seen)


def _over(above: float, below: float, unsaid: float) -> float:
    if above == below and (above == 0 or math.isinf(above)):
        return unsaid
    return math.inf if below == 0 else above / below
