"""Answers without token ids: the reference goes along their text, and takes a cut of it that the model can have made.

At each place the tokens that noise can make the best of all are tried, the likeliest first, as far as they spell what
the text goes on with.  Where none does, an earlier place that can be cut otherwise is taken up again, a few times.  The
cut that came furthest is judged as reported ids are, so that a text which the model would not have said is refused at
the first token that parts from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.evidence import bias_of
from pytest_vibeserve.reference import Context, Logits, Reference
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Request, Vocabulary

RETRIES = 12
MOST_TIMES = 4
"""How many times as many tokens as a request allowed a text is followed: what was added is looked at too."""

UNKNOWN = "\ufffd"
"""Stands in a text for bytes that are no character, or not yet."""


def followed(
    reference: Reference, vocabulary: Vocabulary, answers: Sequence[Answer], ends: frozenset[int], limit: float
) -> list[Answer]:
    """The answers, those without ids with the ids of a cut that the reference could follow; `limit` is in logits."""
    trails = {
        (number, choice.index): _begun(answer.request, choice, ends, vocabulary)
        for number, answer in enumerate(answers) if not answer.fault
        for choice in answer.choices if choice.retokenised
    }  # fmt: skip
    walking = [trail for trail in trails.values() if trail.path]
    while walking:
        contexts = [Context(trail.request.prompt_ids, tuple(trail.path)) for trail in walking]
        for index, (logits,) in reference.walk(contexts, (REFERENCE,)):
            bias = bias_of(walking[index].request, logits.shape[1])
            walking[index].advance(logits if bias is None else logits + bias, limit)
        walking = [trail for trail in walking if not trail.is_over]
    return [_with(answer, number, trails) for number, answer in enumerate(answers)]


@dataclass(slots=True)
class Trail:
    """One text on the way: `path` holds ids for all of it, of which the first `settled` stand."""

    request: Request
    vocabulary: Vocabulary
    text: str
    is_whole: bool
    ends: frozenset[int]
    path: list[int] = field(default_factory=list)
    settled: int = 0
    is_over: bool = False
    forks: list[list[int]] = field(default_factory=list)
    furthest: tuple[int, list[int]] = (-1, [])
    retries: int = RETRIES

    def advance(self, logits: Logits, limit: float) -> None:
        """Settle what `logits` [len(path), vocabulary] settle; a path that has to change is to be looked at again."""
        while self.settled < len(self.path):
            options = self._options(logits[self.settled], limit)
            if not options:
                self._turn_back()
                return
            before = self.path[: self.settled]
            self.forks += [[*before, other] for other in reversed(options[1:])]
            self.settled += 1
            taken = [*before, options[0]]
            if self.path[: self.settled] != taken or options[0] in self.ends or self._is_said(taken):
                self.path = taken
                self.complete()
                return
        self.is_over = True

    def complete(self) -> None:
        """Go on with the tokenizer's own cut of the rest of the text; no cut has many more tokens than were allowed."""
        if self.path and self.path[-1] in self.ends:
            return
        rest = "" if self._is_said(self.path) else self.text[len(self._spelt(self.path)) :]
        cut = self.vocabulary.tokenizer.encode(rest, add_special_tokens=False).ids if rest else []
        whole, allowed = [*self.path, *cut], self.request.max_tokens
        # Who has said as much as was allowed needs no end token.
        end = sorted(self.ends)[:1] if len(whole) < allowed else []
        self.path = [*whole, *end][: max(len(self.path), MOST_TIMES * allowed)]

    def _options(self, row: Logits, limit: float) -> list[int]:
        """The tokens that may come next, the likeliest first."""
        near = np.flatnonzero(row >= row.max() - limit)
        before = self.path[: self.settled]
        return [int(token) for token in near[np.argsort(-row[near])] if self._fits(before, int(token))]

    def _fits(self, before: list[int], token: int) -> bool:
        if token in self.ends:
            return self.vocabulary.decode(before) == self.text
        spelt = self._spelt([*before, token])
        return self.text.startswith(spelt) or (not self.is_whole and spelt.startswith(self.text))

    def _is_said(self, ids: list[int]) -> bool:
        """Whether ids spell the whole text, which shows of broken characters at its end only that they are there."""
        if self.text[len(self._spelt(ids)) :].strip(UNKNOWN):
            return False
        return len(ids) >= self.request.max_tokens or self.vocabulary.decode(ids) == self.text

    def _spelt(self, ids: list[int]) -> str:
        """What ids spell for certain: bytes at the end may become a character yet."""
        return self.vocabulary.decode(ids).rstrip(UNKNOWN)

    def _turn_back(self) -> None:
        """Take up the latest place that can be cut otherwise; without one the path that came furthest is the answer."""
        self.furthest = max(self.furthest, (self.settled, self.path), key=lambda one: one[0])
        if not self.forks or not self.retries:
            self.path, self.is_over = self.furthest[1], True
            return
        self.path = self.forks.pop()
        self.settled, self.retries = len(self.path), self.retries - 1
        self.complete()


def _begun(request: Request, choice: Choice, ends: frozenset[int], vocabulary: Vocabulary) -> Trail:
    """A trail before its first token."""
    is_stopped = choice.finish_reason == "stop"
    is_cut = is_stopped and bool(request.stop)
    may_end = is_stopped and not is_cut and not request.ignore_eos
    trail = Trail(request, vocabulary, choice.text, not is_cut, ends if may_end else frozenset())
    trail.complete()
    return trail


def _with(answer: Answer, number: int, trails: dict[tuple[int, int], Trail]) -> Answer:
    choices = tuple(
        replace(choice, ids=tuple(trails[number, choice.index].path), logprobs=())
        if (number, choice.index) in trails else choice
        for choice in answer.choices
    )  # fmt: skip
    return replace(answer, choices=choices)
