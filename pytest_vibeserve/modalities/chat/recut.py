"""The other way to a constrained answer: forced text is written, and then the whole text is cut into tokens anew.

Such an engine asks the model only where the grammar leaves a choice, after the tokenizer's own cut of all that stands
by then; what it reports is a cut of the whole, in which a token may hold a choice and forced text before or behind it.
So where the reported tokens do not look like the model's, the choices are looked for in the text itself: at each place
where the grammar leaves one, the best of the allowed tokens must lead on to this very text.  Another text than the one
that masked decoding gives is condemned by the first choice that parts from it, however it was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_vibeserve.completions import Answer
from pytest_vibeserve.completions import Choice as Said
from pytest_vibeserve.judge.audit import Auditor
from pytest_vibeserve.judge.evidence import Evidence
from pytest_vibeserve.judge.followed import UNKNOWN
from pytest_vibeserve.modalities.chat.drawn import Choice, logits_after, redrawn
from pytest_vibeserve.modalities.chat.grammar import FORBIDDEN, Grammar, MaskedReference, Place
from pytest_vibeserve.modalities.conditioned import Conditioned
from pytest_vibeserve.reference import Context, Logits
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Request

SUSPECT = 0.25
"""Share of the hard limit from which a margin of a constrained answer is looked at along its text."""


WAYS = ("whole", "pieces", "masked")
"""What the model has seen of forced text: all that stood by then cut anew, or each piece by itself, or it chose it.

Reported ids tell which of the last two it was."""


@dataclass(frozen=True, slots=True)
class RecutAuditor(Auditor):
    """The auditor of chats: a constrained answer is the model's own by its tokens as reported, or along its text."""

    def gathered(self, answers: Sequence[Answer], noise: bool = True) -> list[Evidence]:
        """Evidence of answers, by the tokens of whichever of the two ways lies nearer to the model."""
        return [self._nearer(item, noise) for item in super(RecutAuditor, self).gathered(answers, noise)]

    def told(self, answers: Sequence[Answer]) -> list[Answer]:
        """As the Auditor's; constrained answers stay as they are, for their choices are looked for one by one."""
        free = iter(super(RecutAuditor, self).told([answer for answer in answers if not _schema(answer.request)]))
        return [answer if _schema(answer.request) else next(free) for answer in answers]

    def redrawn(self, answer: Answer, choice: Said) -> tuple[tuple[int, ...], tuple[Logits, ...]] | None:
        """The choices that the grammar left of a constrained answer, with the masked logits they were drawn from."""
        reference, schema = self.reference, _schema(answer.request)
        if not schema or not isinstance(reference, MaskedReference) or not reference.grammar:
            return None
        found = redrawn(reference, reference.grammar, answer.request, schema, choice.ids)
        if not found:
            return None
        prompt, ways = tuple(answer.request.prompt_ids), (REFERENCE, *self.variants)
        contexts = [Context(prompt + choice.before, (choice.taken,)) for choice in found]
        walked = dict(reference.walk(contexts, ways))
        masked = [
            np.stack([np.where(one.allowed, walked[i][way][0], -FORBIDDEN) for i, one in enumerate(found)])
            for way in range(len(ways))
        ]  # fmt: skip
        return tuple(one.taken for one in found), tuple(masked)

    def _nearer(self, item: Evidence, noise: bool) -> Evidence:
        if item.request.temperature or item.request.logit_bias or item.worst <= SUSPECT * self.limit:
            return item
        reference = self.reference
        if not _schema(item.request) or not isinstance(reference, MaskedReference) or not reference.grammar:
            return item
        ways = WAYS if item.choice.retokenised else WAYS[:1]
        tried = (_choices(reference, reference.grammar, item, self.limit, way) for way in ways)
        found = next(filter(None, tried), None)
        if found is None:
            return item
        other = self._along(item, found, reference.grammar, noise)
        return other if other.margins.sum() < item.margins.sum() else item

    def _along(self, item: Evidence, choices: Sequence[Choice], grammar: Grammar, noise: bool) -> Evidence:
        """The evidence with the margins of the choices, each at the reported token in which it begins."""
        prompt, variants = tuple(item.context.prompt), self.variants if noise else ()
        contexts = [Context(prompt + choice.before, (choice.taken,)) for choice in choices]
        starts = grammar.starts(item.choice.ids)
        margins = np.zeros(len(item.margins))
        honest = np.zeros((len(variants), len(item.margins)))
        for index, (true, *others) in self.reference.walk(contexts, (REFERENCE, *variants)):
            choice = choices[index]
            own = np.where(choice.allowed, true[0], -FORBIDDEN)
            row = int(np.searchsorted(starts, choice.at, side="right")) - 1
            margins[row] = max(margins[row], float(own.max() - own[choice.taken]))
            for place, block in enumerate(others):
                said = int(np.where(choice.allowed, block[0], -FORBIDDEN).argmax())
                honest[place, row] = max(honest[place, row], float(own.max() - own[said]))
        return replace(item, margins=margins, honest_margins=honest)


def _schema(request: Request) -> str:
    prompt = request.prompt_ids
    found = prompt.condition if isinstance(prompt, Conditioned) else ""
    return found if isinstance(found, str) else ""


def _choices(reference: MaskedReference, grammar: Grammar, item: Evidence, limit: float, way: str) -> list[Choice]:
    """The choices along the text of a whole answer; none where one of them is further than `limit` from the best.

    Of an answer without ids the text may be all of it that max_tokens left room for.
    """
    place, found = grammar.beginning(_schema(item.request)), list[Choice]()
    text, ended = grammar.text(item.choice.ids)
    is_open = item.choice.retokenised and item.choice.finish_reason == "length"
    text = text.partition(UNKNOWN.encode())[0] if is_open else text
    before: tuple[int, ...] = ()
    while ended or is_open:
        if is_open and place.at == len(text):
            return found
        forced = place.forced()[: len(text) - place.at if is_open else None] if way != "masked" else b""
        if not text.startswith(forced, place.at):
            return []
        if forced:
            place.write(forced)
            cut = grammar.cut(text[: place.at] if way == "whole" else forced)
            if cut is None:
                return []
            before = cut if way == "whole" else (*before, *cut)
        if place.stopped or (place.at == len(text) and place.whole):
            return found
        choice = _taken(reference, item, place, before, text)
        if choice is None or choice[1] > limit:
            return []
        found.append(choice[0])
        place.take(choice[0].taken)
        before = (*before, choice[0].taken)
    return []


def _taken(
    reference: MaskedReference, item: Evidence, place: Place, before: tuple[int, ...], text: bytes
) -> tuple[Choice, float] | None:
    """The best of the allowed tokens that lead on to the text, and how far (logits) it lies below the best of all."""
    allowed = place.allowed()
    leading = [token for token in np.flatnonzero(allowed) if place.leads(int(token), text)]
    if not leading:
        return None
    logits = logits_after(reference, tuple(item.context.prompt) + before)
    taken = max(leading, key=lambda token: float(logits[token]))
    gap = float(np.where(allowed, logits, -FORBIDDEN).max() - logits[taken])
    return Choice(place.at, before, allowed, int(taken)), gap
