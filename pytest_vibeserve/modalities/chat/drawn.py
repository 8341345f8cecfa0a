"""The draws by which an engine comes to a text that it cuts into tokens anew: forced pieces, and choices between them.

Which tokens were drawn can no longer be told from such a text; the likeliest way from one forced piece to the next is
taken for them, since each further token makes a way much less likely.  An engine that masks token by token comes to
the tokenizer's own cut of a text where the model has learnt it, and then its choices are the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pytest_vibeserve.modalities.chat.grammar import FORBIDDEN, Grammar, MaskedReference, Place
from pytest_vibeserve.reference import Context, Logits
from pytest_vibeserve.variants import REFERENCE
from pytest_vibeserve.workload import Request

DRAWN_SINCE = 4
"""So many tokens may have been drawn since the text was last cut."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice that the grammar left: where (bytes), after which ids, among which tokens, and which was taken."""

    at: int
    before: tuple[int, ...]
    allowed: NDArray[np.bool_]
    taken: int


@dataclass(frozen=True, slots=True)
class Way:
    """Where one has come, after which ids, and by which choices."""

    place: Place
    before: tuple[int, ...]
    choices: tuple[Choice, ...] = ()


def redrawn(
    reference: MaskedReference, grammar: Grammar, request: Request, schema: str, ids: tuple[int, ...]
) -> tuple[Choice, ...]:
    """The choices along the text of a whole answer, each after a cut of all that stood by then.

    None where its tokens are not the tokenizer's own cut, or where no choices lead to the text.
    """
    text, ended = grammar.text(ids)
    way = Way(grammar.beginning(schema), ())
    while ended and _is_own_cut(grammar, ids[:-1]):
        place = way.place
        if forced := place.forced():
            if not text.startswith(forced, place.at):
                return ()
            place.write(forced)
            cut = grammar.cut(text[: place.at])
            if cut is None:
                return ()
            way = Way(place, cut, way.choices)
        if _is_over(place, text):
            return way.choices
        onward = _likeliest(reference, request, way, text)
        if onward is None:
            return ()
        way = onward
    return ()


def logits_after(reference: MaskedReference, inputs: tuple[int, ...]) -> Logits:
    """The plain reference's logits [vocabulary] for what comes after these ids."""
    ((_, (block,)),) = reference.walk([Context(inputs, (0,))], (REFERENCE,))
    found: Logits = block[0].copy()
    return found


def _is_own_cut(grammar: Grammar, ids: tuple[int, ...]) -> bool:
    """Whether the tokens are the tokenizer's cut of their text, but for a few at the end."""
    beginnings = (ids[: max(0, len(ids) - since)] for since in range(DRAWN_SINCE + 1))
    return any(grammar.cut(grammar.text(some)[0]) == some for some in beginnings)


def _is_over(place: Place, text: bytes) -> bool:
    return place.stopped or (place.at == len(text) and place.whole)


def _likeliest(reference: MaskedReference, request: Request, start: Way, text: bytes) -> Way | None:
    """The likeliest way along a text from a choice to the next forced piece (Dijkstra over surprisals)."""
    order = count()
    frontier = [(0.0, next(order), start)]
    while frontier:
        surprisal, _, way = heappop(frontier)
        if way is not start and (_is_over(way.place, text) or way.place.forced()):
            return way
        allowed = way.place.allowed()
        own = np.where(allowed, logits_after(reference, tuple(request.prompt_ids) + way.before), -FORBIDDEN)
        scaled = own.astype(np.float64) / request.temperature
        costs = np.log(np.exp(scaled - scaled.max()).sum()) + scaled.max() - scaled
        for token in (int(one) for one in np.flatnonzero(allowed) if way.place.leads(int(one), text)):
            place = way.place.copy()
            place.take(token)
            choice = Choice(way.place.at, way.before, allowed, token)
            onward = Way(place, (*way.before, token), (*way.choices, choice))
            heappush(frontier, (surprisal + float(costs[token]), next(order), onward))
    return None
