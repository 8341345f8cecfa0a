"""Answers without token ids: the reference goes along their text, and takes a cut of it that the model can have made.

At each place the tokens that spell what comes next are tried, the likeliest first.  A token further below the best of
all than noise explains is none that the model chose; where no other is left, an earlier place that can be cut otherwise
is taken up again, a few times.  The cut that came furthest is judged as reported ids are, so that a text which the
model would not have said is refused at the first token that parts from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_vibeserve.completions import Answer, Choice
from pytest_vibeserve.judge.evidence import bias_of
from pytest_vibeserve.judge.spelling import Spelling, spelling_of
from pytest_vibeserve.reference import Context, Logits, Reference
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Request

RETRIES = 12
UNKNOWN = "\ufffd"
"""Stands in a text for bytes that are no character: what they were is not known."""


def followed(reference: Reference, answers: Sequence[Answer], ends: frozenset[int], limit: float) -> list[Answer]:
    """The answers, those without ids with the ids of a cut that the reference could follow; `limit` is in logits."""
    spelling = spelling_of(reference.folder)
    trails = {
        (number, choice.index): trail
        for number, answer in enumerate(answers) if not answer.fault
        for choice in answer.choices if choice.retokenised
        for trail in [_begun(answer.request, choice, ends, spelling)] if trail.path
    }  # fmt: skip
    walking = list(trails.values())
    while walking:
        contexts = [Context(trail.request.prompt_ids, tuple(trail.path)) for trail in walking]
        for index, (logits,) in reference.walk(contexts, (REFERENCE,)):
            bias = bias_of(walking[index].request, logits.shape[1])
            walking[index].advance(logits if bias is None else logits + bias, limit)
        walking = [trail for trail in walking if not trail.is_over]
    return [_with(answer, number, trails) for number, answer in enumerate(answers)]


@dataclass(slots=True)
class Trail:
    """One text on the way: `path` holds ids of all of it, of which the first `settled` stand and spell `at` bytes."""

    request: Request
    spelling: Spelling
    text: bytes
    is_whole: bool
    ends: frozenset[int]
    path: list[int] = field(default_factory=list)
    settled: int = 0
    at: int = 0
    is_over: bool = False
    forks: list[tuple[list[int], int]] = field(default_factory=list)
    furthest: tuple[int, list[int]] = (-1, [])
    retries: int = RETRIES

    def advance(self, logits: Logits, limit: float) -> None:
        """Settle what `logits` [len(path), vocabulary] settle; a path that has to change is to be looked at again."""
        while self.settled < len(self.path):
            options = self._options(logits[self.settled], limit)
            if not options:
                self._turn_back()
                return
            taken, before = options[0], self.path[: self.settled]
            spelt = self.spelling.bytes
            self.forks += [([*before, other], self.at + len(spelt[other])) for other in reversed(options[1:])]
            was_known = self.path[self.settled] == taken
            self.settled, self.at = self.settled + 1, self.at + len(spelt[taken])
            if not was_known:
                self.path = [*before, taken]
                self.complete()
                return
        self.is_over = True

    def complete(self) -> None:
        """Cut the rest of the text as the tokenizer does, as far as the request allows tokens."""
        rest = [*self.spelling.cut(self.text[self.at :]), *sorted(self.ends)[:1]]
        self.path = [*self.path, *rest][: max(len(self.path), self.request.max_tokens)]

    def _options(self, row: Logits, limit: float) -> list[int]:
        """The tokens that may come next, the likeliest first; one that shows nothing, if it is the best of all."""
        rest, best = self.text[self.at :], int(row.argmax())
        tokens = self.spelling.leading(rest, self.is_whole) if rest else [t for t in self.ends if t < len(row)]
        if best in self.spelling.special and best not in self.ends:
            tokens.append(best)
        near = [token for token in tokens if row[token] >= row[best] - limit]
        return sorted(near, key=lambda token: -float(row[token]))

    def _turn_back(self) -> None:
        """Take up the latest place that can be cut otherwise; without one the path that came furthest is the answer."""
        self.furthest = max(self.furthest, (self.settled, self.path), key=lambda one: one[0])
        if not self.forks or not self.retries:
            self.path, self.is_over = self.furthest[1], True
            return
        self.path, self.at = self.forks.pop()
        self.settled, self.retries = len(self.path), self.retries - 1
        self.complete()


def _begun(request: Request, choice: Choice, ends: frozenset[int], spelling: Spelling) -> Trail:
    """A trail before its first token: as much of the text as is known for certain."""
    known, unknown, _ = choice.text.partition(UNKNOWN)
    is_stopped = choice.finish_reason == "stop"
    is_cut = is_stopped and bool(request.stop)
    may_end = is_stopped and not is_cut and not unknown and not request.ignore_eos
    trail = Trail(request, spelling, known.encode(), not (unknown or is_cut), ends if may_end else frozenset())
    trail.complete()
    return trail


def _with(answer: Answer, number: int, trails: dict[tuple[int, int], Trail]) -> Answer:
    if all((number, choice.index) not in trails for choice in answer.choices):
        return answer
    choices = tuple(
        replace(choice, ids=tuple(trails[number, choice.index].path), logprobs=())
        if (number, choice.index) in trails else choice
        for choice in answer.choices
    )  # fmt: skip
    return replace(answer, choices=choices)
