"""When a comparison ends, and which of its quads count: by numbers that are fixed before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pytest_vibeserve.statistics import GainSequence, Quad

Ended = Literal["decided", "out of reach", "pairs spent", "time spent"]
BLOCKS_A_QUAD = 4
BEFORE_GIVING_UP = 3
"""Quads from which on the noise is known well enough to say that no difference is within reach."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many quads (an ABBA or BAAB, two pairs of blocks) a comparison takes at least and at most, and how long."""

    least: int
    most: int
    seconds: float


EFFORTS = {"quick": Effort(2, 16, 45.0), "full": Effort(3, 24, 300.0)}
BESIDE = Effort(3, 6, 300.0)
"""At a load beside the headline's, in a full gate: enough to see a loss there, and a large gain."""
BESIDE_SHARE = 0.1
"""Share of the time of one gate that it may take; where its least number of quads needs more, there is none."""


def effort_beside(block_s: float, wall_s: float, left_s: float) -> Effort | None:
    """How long to compare at one more load whose blocks take so long; None where the time is not there."""
    seconds = min(BESIDE.seconds, BESIDE_SHARE * wall_s, left_s / 4)
    return replace(BESIDE, seconds=seconds) if BLOCKS_A_QUAD * BESIDE.least * block_s <= seconds else None


def ending(gains: GainSequence, begun: int, spent_s: float, effort: Effort) -> Ended | None:
    """Why to stop after `begun` quads, dropped ones included, and so many seconds; None to go on."""
    if len(gains) >= effort.least and gains.conclusion() != "no difference shown":
        return "decided"
    if begun >= effort.most:
        return "pairs spent"
    if len(gains) >= max(effort.least, BEFORE_GIVING_UP) and gains.is_futile(len(gains) + effort.most - begun):
        return "out of reach"
    return "time spent" if spent_s * (begun + 1) / begun > effort.seconds else None


class Tally:
    """The quads that count: the steady ones, or all where the machine gives too few of them.

    Which of the two is settled once, by the machine's state alone and before anything may be concluded: steady ones as
    soon as the effort's least number of them is there, all as soon as the unsteady ones are the majority before that.
    Where nothing is steady the noise belongs to the machine, and the interval is as wide as that makes it.
    """

    def __init__(self, alpha: float, effort: Effort) -> None:
        """Nothing is counted before that is settled."""
        self.gains = GainSequence(alpha)
        self.takes_all = False
        self._least = effort.least
        self._seen: list[tuple[Quad, bool]] = []
        self._is_settled = False

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, found: Quad, is_steady: bool) -> None:
        """Take in one quad."""
        self._seen.append((found, is_steady))
        due = self._seen[-1:] if self._is_settled else self._settled()
        for one, steady in due:
            if steady or self.takes_all:
                self.gains.add(one)

    def _settled(self) -> list[tuple[Quad, bool]]:
        """All that was seen, once it is known which of it counts; nothing before."""
        steady = sum(is_steady for _, is_steady in self._seen)
        self.takes_all = steady < self._least <= len(self._seen) and 2 * steady < len(self._seen)
        self._is_settled = self.takes_all or steady >= self._least
        return self._seen if self._is_settled else []
